"""Detections in the shipped portrait at sizes, turns and places that are known."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.config import MIN_FACE_SCORE
from agecli.faces import Face, align, detector
from agecli.faces import detect as detect_upright
from agecli.faces.geometry import centre, side
from tests.benchmarks.faceless import faceless

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
FACE = (179, 83, 267, 171)
"""The box of her face, measured by eye to within a few pixels."""
HEAD = (87, 83, 175, 171)
"""The same in a cut of 256 px around her head."""


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(PORTRAIT).convert("RGB")


def close(box: tuple[float, ...], truth: tuple[float, ...], share: float = 0.12) -> bool:
    return max(abs(a - b) for a, b in zip(box, truth, strict=True)) < share * (truth[2] - truth[0])


def detect(picture: Image.Image) -> list[Face]:
    return [align(face) for face in detect_upright(picture)]


def test_the_one_face_is_detected(portrait: Image.Image):
    (face,) = detect(portrait)
    assert close(face.box, FACE)
    assert 0.9 < face.score < 1
    places = [(203, 102), (246, 104), (222, 125), (203, 141), (240, 145)]  # by eye
    np.testing.assert_allclose(face.points, places, atol=4)


def test_the_detectors_box_lies_where_the_aligned_one_does(portrait: Image.Image):
    (face,) = detect_upright(portrait)
    assert face.angle == 0 and close(face.box, FACE, 0.15)


@pytest.mark.parametrize("factor", [0.5, 2, 8])
def test_boxes_are_in_the_pictures_own_pixels(portrait: Image.Image, factor: float):
    """Small faces are enlarged, large pictures reduced; the box does not tell."""
    scaled = portrait.resize((round(512 * factor), round(512 * factor)), Image.Resampling.BICUBIC)
    found = detect(scaled)
    assert close(tuple(v / factor for v in found[0].box), FACE)


def test_detects_all_faces_the_largest_first(portrait: Image.Image):
    head = portrait.crop((92, 0, 348, 256))  # her face is at (87, 83) in it
    scene = Image.new("RGB", (900, 512), (120, 120, 120))
    scene.paste(head.resize((128, 128), Image.Resampling.BICUBIC), (20, 20))
    scene.paste(head, (500, 100))
    boxes = [face.box for face in detect(scene)]
    assert len(boxes) == 2
    assert close(boxes[0], (587, 183, 675, 271))
    assert close(boxes[1], (63.5, 61.5, 107.5, 105.5), 0.2)


def test_detects_the_face_of_a_tight_crop(portrait: Image.Image):
    crop = portrait.crop((167, 71, 279, 183)).resize((200, 200), Image.Resampling.BICUBIC)
    (face,) = detect(crop)
    assert close(face.box, (21, 21, 179, 179), 0.2)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (64, 64)])
def test_detects_nothing_where_there_is_nothing(size: tuple[int, int]):
    assert detect(Image.new("RGB", size, (90, 120, 150))) == []


def turned(portrait: Image.Image, tilt: float) -> tuple[Image.Image, tuple[float, ...]]:
    """Tilt the whole portrait clockwise; give it with the place of its face's centre."""
    picture = portrait.rotate(-tilt, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))
    across, down = (FACE[0] + FACE[2] - 512) / 2, (FACE[1] + FACE[3] - 512) / 2
    c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    return picture, (256 + c * across - s * down, 256 + s * across + c * down)


@pytest.mark.parametrize("tilt", [-45, -25, 25, 45])
def test_detects_a_tilted_face_and_its_angle(portrait: Image.Image, tilt: float):
    picture, place = turned(portrait, tilt)
    (face,) = detect(picture)
    assert centre(face.box) == pytest.approx(place, abs=10)
    assert side(face.box) == pytest.approx(88, rel=0.15)
    assert face.angle == pytest.approx(tilt + 4, abs=10)  # she holds it by 4 degrees


@pytest.mark.parametrize("size", [40, 60])
def test_detects_small_faces_in_a_large_picture(portrait: Image.Image, size: int):
    small = portrait.crop((92, 0, 348, 256)).resize((round(256 * size / 88),) * 2)
    scene = Image.new("RGB", (1600, 1200), (120, 130, 110))
    scene.paste(small, (1300, 900))
    (face,) = detect(scene)
    place = tuple(at + corner * size / 88 for at, corner in zip((1300, 900) * 2, HEAD, strict=True))
    assert close(face.box, place, 0.2)


def test_each_face_of_a_tiled_picture_is_found_once(portrait: Image.Image):
    head = portrait.crop((92, 0, 348, 256))
    scene = Image.new("RGB", (512, 256))
    for column in range(2):
        scene.paste(head, (256 * column, 0))
    first, second = sorted(face.box for face in detect(scene))
    assert close(first, HEAD)
    assert close(second, (HEAD[0] + 256, HEAD[1], HEAD[2] + 256, HEAD[3]))


@pytest.mark.parametrize("cut", [(197, 0, 453, 256), (0, 94, 256, 350), (0, 0, 249, 256)])
def test_detects_a_face_cut_by_the_border(portrait: Image.Image, cut: tuple[int, int, int, int]):
    """A fifth of her face lies beyond the left or right border, an eighth beyond the upper."""
    (face,) = detect(portrait.crop(cut))
    place = tuple(at - corner for at, corner in zip(FACE, cut[:2] * 2, strict=True))
    assert close(face.box, place, 0.25)


def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the sizes that the network looks at."""
    seen = []
    run = detector._run

    def noted(pixels: np.ndarray) -> list:
        seen.append(pixels.shape[:2])
        return run(pixels)

    monkeypatch.setattr(detector, "_run", noted)
    return seen


def test_a_picture_of_fifty_megapixels_is_looked_at_in_bounded_sizes(
    portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    seen = looks(monkeypatch)
    scene = Image.new("RGB", (8000, 6250), (120, 130, 110))
    scene.paste(portrait.resize((1500, 1500)), (6000, 4000))
    (face,) = detect(scene)
    place = tuple(at + n * 1500 / 512 for at, n in zip((6000, 4000) * 2, FACE, strict=True))
    assert close(face.box, place)
    assert seen[0] == (500, 640) and set(seen[1:]) <= {(224, 224)} and len(seen) <= 4
    seen.clear()
    assert detect(scene.crop((0, 0, 6000, 6250))) == []
    assert [max(size) for size in seen] == [640, 1118, 160]


@pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000), (20_000, 50), (100_000, 100)])
def test_no_look_at_a_picture_of_extreme_shape_is_large(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    seen = looks(monkeypatch)
    assert detect(Image.new("RGB", size, (90, 120, 150))) == []
    assert all(height * width < 50_000 and max(height, width) <= 4096 for height, width in seen)


def test_a_long_strip_is_predicted(portrait: Image.Image):
    strip = Image.new("RGB", (9000, 256), (120, 120, 120))
    strip.paste(portrait.crop((92, 0, 348, 256)), (7000, 0))
    (face,) = detect(strip)
    assert close(face.box, (HEAD[0] + 7000, HEAD[1], HEAD[2] + 7000, HEAD[3]))


def test_the_least_score_decides(portrait: Image.Image):
    (face,) = detect_upright(portrait)
    assert face.score > MIN_FACE_SCORE
    assert detect_upright(portrait, face.score) == [face]
    assert detect_upright(portrait, face.score + 0.001) == []


def test_the_number_of_closer_looks_is_bounded_and_none_is_dropped_for_it(
    portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    head = portrait.crop((132, 40, 314, 222)).resize((120, 120))
    scene = Image.new("RGB", (600, 240))
    for place in range(10):
        scene.paste(head, (place % 5 * 120, place // 5 * 120))
    seen = looks(monkeypatch)
    assert len(detect(scene)) == 10
    seen = looks(monkeypatch)
    monkeypatch.setattr(detector, "MOST", 2)
    assert len(detect(scene)) == 10  # none is dropped
    assert seen.count((224, 224)) <= 2 * detector.CLOSER_LOOKS


def test_small_faces_beside_larger_ones_are_detected(portrait: Image.Image):
    """In the first pass one has 13 px, the others 8."""
    scene = Image.new("RGB", (4000, 3000), (120, 130, 110))
    head = portrait.crop((92, 0, 348, 256))
    for place, face in enumerate((80, 50, 50, 50)):
        scene.paste(head.resize((round(256 * face / 88),) * 2), (300 + 900 * place, 1400))
    assert len(detect(scene)) == 4


def test_drawings_and_textures_have_no_faces():
    found = [face for picture in faceless(20, (300, 240)) for face in detect(picture)]
    assert found == []


def test_crop_largest_for_prepare(portrait: Image.Image):
    crop = pickle.loads(pickle.dumps(detector.crop_largest))(portrait)
    assert crop.width == crop.height
    assert 88 <= crop.width <= 110
    assert detector.crop_largest(Image.new("RGB", (300, 200))) is None
    scene = Image.new("RGB", (900, 512), (120, 120, 120))
    scene.paste(portrait)
    scene.paste(portrait.crop((92, 0, 348, 256)).resize((128, 128)), (600, 20))
    assert 88 <= detector.crop_largest(scene).width <= 110  # not the half as large one


def test_a_picture_that_was_decoded_smaller_is_predicted_in_the_files_pixels(portrait):
    """Half of the file's sides were decoded: boxes are twice as large, and crops as they are."""
    halved = portrait.copy()
    halved.info["agecli reduced"] = 2
    (face,), (twice,) = detect_upright(portrait), detect_upright(halved)
    assert twice.box == tuple(2 * end for end in face.box)
    np.testing.assert_allclose(twice.points, 2 * np.array(face.points), atol=0.11)
    crop, other = (detector.crop_largest(picture) for picture in (portrait, halved))
    assert abs(crop.width - other.width) <= 1
    small = [np.asarray(one.resize((32, 32)), float) for one in (crop, other)]
    assert np.abs(small[0] - small[1]).mean() < 3


def test_boxes_without_an_area_do_not_overlap():
    from agecli.faces.geometry import overlap

    assert overlap((3, 3, 3, 3), (3, 3, 3, 3)) == 0
