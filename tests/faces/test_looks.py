"""When a detection is looked at again, and what becomes of it, with scripted looks."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.faces import Face, detector
from agecli.faces.crops import CHIP_POINTS
from agecli.faces.geometry import Box, Point, Similarity, centre, side

IMAGE = Image.new("RGB", (400, 400))
SQUARE = (100, 100, 200, 200)


def tilted(angle: float, score: float = 0.5) -> Face:
    """Return a face with the landmarks of a rotated chip."""
    return Face(SQUARE, score, 0.0, tuple(map(Similarity(1, angle, (150, 150)), CHIP_POINTS)))


def look(
    monkeypatch: pytest.MonkeyPatch, face: Face, *found: tuple[Box, float, list[Point]]
) -> tuple[Face | None, list[np.ndarray]]:
    """Repeat a detection with a network that detects something; return its input, too."""
    given: list[np.ndarray] = []
    monkeypatch.setattr(detector, "_run", lambda pixels: given.append(pixels) or list(found))
    return detector._detect_upright(IMAGE, face), given


EXPECTED = (37.0, 37.0, 187.0, 187.0)
"""The box of a face in a pass of 224 px that shows 1.5 sides of its box."""


@pytest.mark.parametrize(
    ("angle", "corner"), [(0, (75, 75)), (90, (225, 75)), (180, (225, 225)), (-90, (75, 225))]
)
def test_the_points_of_a_closer_look_are_given_in_the_picture(monkeypatch, angle, corner):
    """It shows the 150 px around (150, 150): its left top corner, turned, and its middle."""
    found = (EXPECTED, 0.95, [(0, 0), (112, 112)])
    seen, given = look(monkeypatch, Face(SQUARE, 0.5, angle), found)
    assert given[0].shape == (224, 224, 3)
    assert seen == Face(SQUARE, 0.85, angle, (corner, (150, 150)))


@pytest.mark.parametrize(("before", "found", "after"), [(0.5, 0.7, 0.6), (0.65, 0.7, 0.65)])
def test_a_closer_look_counts_a_tenth_less(monkeypatch, before, found, after):
    seen, _ = look(monkeypatch, Face(SQUARE, before), (EXPECTED, found, []))
    assert seen is not None and seen.score == after


def test_of_a_closer_look_the_strongest_where_the_face_is_counts(monkeypatch):
    elsewhere, here = (0.0, 0.0, 60.0, 60.0), (50.0, 40.0, 200.0, 190.0)
    found = [(elsewhere, 0.99, [(1, 1)]), (here, 0.8, [(224, 0)]), (EXPECTED, 0.7, [(3, 3)])]
    seen, _ = look(monkeypatch, Face(SQUARE, 0.5), *found)
    assert seen == Face(SQUARE, 0.7, 0.0, ((225, 75),))
    assert look(monkeypatch, Face(SQUARE, 0.5), found[0])[0] is None
    assert look(monkeypatch, Face(SQUARE, 0.5))[0] is None


@pytest.mark.parametrize(("side", "looks"), [(37, 0), (38, 1), (46, 1)])
def test_a_look_that_enlarges_more_than_four_times_is_not_taken(monkeypatch, side, looks):
    """A face of 37 px and half of it around would be enlarged from 55.5 to 224 px."""
    face = Face((100, 100, 100 + side, 100 + side), 0.5)
    assert len(look(monkeypatch, face)[1]) == looks


def look_closely(
    monkeypatch: pytest.MonkeyPatch, face: Face, *angles: float | None
) -> tuple[Face, int]:
    """Confirm a face that is detected at angles, or not; return the number of passes."""
    script = [None if angle is None else tilted(angle, 0.6) for angle in angles]
    left = list(script)
    monkeypatch.setattr(detector, "_detect_upright", lambda image, face: left.pop(0))
    return detector._confirm_face(IMAGE, face), len(script) - len(left)


@pytest.mark.parametrize(
    ("angle", "score", "looks"), [(0, 0.8, 0), (0, 0.79, 1), (2.9, 0.9, 0), (-3.0, 0.9, 1)]
)
def test_what_is_sure_and_upright_is_not_looked_at_again(monkeypatch, angle, score, looks):
    face = tilted(angle, score)
    found, taken = look_closely(monkeypatch, face, None)
    assert (found, taken) == (face, looks)


@pytest.mark.parametrize(
    ("angles", "averaged"),
    [
        ((24,), (20, 24)),
        ((-4,), (0, -4)),
        ((26, 27), (26, 27)),
        ((25, 30, 35), (30, 35)),  # 5 degrees are not steady, but the third look is the last
        ((40, 0, 80), (0, 80)),
        ((40, None), (40, 40)),
    ],
)
def test_looks_are_taken_until_two_agree_and_their_points_averaged(monkeypatch, angles, averaged):
    first = 0 if averaged[0] == 0 and len(angles) == 1 else 20
    found, taken = look_closely(monkeypatch, tilted(first), *angles)
    assert taken == len(angles)
    assert found.score == 0.6
    one, two = (np.array(tilted(angle).points) for angle in averaged)
    np.testing.assert_allclose(found.points, (one + two) / 2, atol=0.051)


def test_a_detection_becomes_the_square_in_a_chip_as_utkface_cuts_them():
    """The chip's side is 1.025 roots of the box's area; it lies 0.078 of the height lower."""
    face = detector._face((100, 100, 180, 200), 0.87654, [(120.04, 130.06)])
    assert (face.score, face.angle, face.points) == (0.877, 0.0, ((120.0, 130.1),))
    assert side(face.box) == pytest.approx(1.025 * sqrt(80 * 100) / (1 + 2 * FACE_MARGIN), abs=1)
    assert centre(face.box) == pytest.approx((140, 150 + 7.8), abs=0.6)


def test_detections_are_merged_before_and_after_they_are_looked_at(monkeypatch):
    """Two that come to lie on each other are one face, and the weakest are not looked at."""
    looked = []

    def closely(image: Image.Image, face: Face) -> Face:
        looked.append(face.score)
        return Face(SQUARE, face.score) if face.score > 0.75 else face

    monkeypatch.setattr(detector, "MOST", 3)
    monkeypatch.setattr(detector, "_confirm_face", closely)
    faces = [Face((200 * n, 0, 200 * n + 50, 50), 0.5 + n / 10) for n in range(5)]
    found = detector._confirm(IMAGE, [*faces, faces[4]], 0.6)
    assert looked == [0.9, 0.8, 0.7]
    assert found == [Face(SQUARE, 0.9), faces[2], faces[1]]


def test_a_hundred_detections_are_looked_at_closely_and_the_others_kept(monkeypatch):
    looked = []
    monkeypatch.setattr(detector, "_confirm_face", lambda image, face: looked.append(face) or face)
    faces = [Face((60 * n, 0, 60 * n + 50, 50), 0.9) for n in range(105)]
    assert detector._confirm(IMAGE, faces, 0.6) == faces
    assert looked == faces[:100]


def sizes(monkeypatch: pytest.MonkeyPatch, *size: int) -> list[tuple[int, int]]:
    """Detect in an empty picture; return the sizes that are looked at, across and down."""
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(detector, "_run", lambda pixels: seen.append(pixels.shape[1::-1]) or [])
    detector.detect(Image.new("RGB", size))
    return seen


@pytest.mark.parametrize(
    ("size", "looks"),
    [
        ((640, 400), [(640, 400), (160, 100)]),  # nothing is finer than the picture itself
        ((800, 500), [(640, 400), (160, 100)]),  # 1.25 times finer does not pay
        ((801, 500), [(640, 400), (801, 500), (160, 100)]),
        ((2000, 1200), [(640, 384), (1414, 849), (160, 96)]),  # 1.2 million pixels
        ((8192, 200), [(640, 16), (4096, 100)]),
        ((100, 50), [(100, 50), (160, 80)]),
        ((640, 10), [(640, 10)]),
        ((640, 9), []),
        ((9, 640), []),
    ],
)
def test_where_no_face_is_seen_a_finer_and_a_coarse_look_are_taken(monkeypatch, size, looks):
    assert sizes(monkeypatch, *size) == looks


@pytest.mark.parametrize(
    ("size", "faces", "looks"),
    [
        ((4000, 3000), [15.5], [(640, 480)]),
        ((4000, 3000), [15.0], [(640, 480), (2828, 2121)]),  # 6 million pixels
        ((4000, 3000), [200, 15.0, 100], [(640, 480), (2828, 2121)]),
        ((1900, 1000), [15.0], [(640, 337)]),  # 3 times finer is as fine as the picture
        ((1930, 1000), [15.0], [(640, 332), (1930, 1000)]),
    ],
)
def test_beside_a_very_small_face_smaller_ones_are_looked_for(monkeypatch, size, faces, looks):
    """Faces of 14 px in the first look: its boxes are larger by the twelfth."""
    seen: list[tuple[int, int]] = []

    def run(pixels: np.ndarray) -> list:
        seen.append(pixels.shape[1::-1])
        boxes = [(210 * n, 20, 210 * n + side, 20 + side) for n, side in enumerate(faces)]
        return [(box, 0.9, []) for box in boxes] if len(seen) == 1 else []

    monkeypatch.setattr(detector, "_run", run)
    assert len(detector.detect(Image.new("RGB", size))) == len(faces)
    assert seen == looks
