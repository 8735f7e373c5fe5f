"""Boxes and labels in pictures, by the pixels that are painted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from agecli.faces import Face
from agecli.faces.drawing import draw_faces

GROUND, COLOUR, INK = (40, 90, 60), (255, 200, 0), (0, 0, 0)
TEXT = ["cnn 25-32 (61%)", "resnet 25-32"]


def draw(size: tuple[int, int], face: Face | None, lines: list[str] = TEXT) -> np.ndarray:
    """Draw one face into an empty picture; return its pixels."""
    return np.asarray(draw_faces(Image.new("RGB", size, GROUND), {face: lines}))


def painted(pixels: np.ndarray) -> np.ndarray:
    """Return the mask (H, W) of painted pixels."""
    return (pixels != GROUND).any(axis=2)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom of what is set; right and bottom just outside."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def text_size(font_size: float, lines: list[str] = TEXT) -> tuple[float, float]:
    """Measure a text as PIL does."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    font = ImageFont.load_default(font_size)
    left, top, right, bottom = draw.multiline_textbbox((0, 0), "\n".join(lines), font=font)
    return right - left, bottom - top


@pytest.mark.parametrize(("side", "line"), [(150, 1), (800, 4), (1100, 5)])
def test_a_box_is_a_line_around_the_face(side: int, line: int):
    low, high = side // 2, side - side // 5
    mask = painted(draw((side, side + 50), Face((low, low, high, high), 0.9), ["x"]))
    middle = (low + high) // 2
    for strip in (mask[middle, :middle], mask[middle, middle:], mask[middle:, middle]):
        assert strip.sum() == pytest.approx(line, abs=1)
    for across, down in ((low, middle), (high, middle), (middle, high), (middle, low)):
        assert mask[down, across]
    assert not mask[low + line + 1 : high - line - 1, low + line + 1 : high - line - 1].any()
    for corner in ((low, low), (low, high), (high, low), (high, high)):
        assert mask[corner]


def test_a_box_is_turned_with_the_face():
    """A square of 100 px stands on its corner at 45 degrees, clockwise or not."""
    mask = painted(draw((400, 400), Face((150, 150, 250, 250), 0.9, 45.0), ["x"]))
    middle = round(50 / 2**0.5)  # of its edges, right and down
    for right, down in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        at = 200 + down * middle, 200 + right * middle
        assert mask[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2].any()
    assert not mask[200, 150] and not mask[150, 200] and not mask[200, 250]
    clockwise = painted(draw((400, 400), Face((150, 150, 250, 250), 0.9, 20.0), ["x"]))
    # The left top corner, turned by 20 degrees around the middle, has moved to the right.
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    x, y = 200 - 50 * cosine + 50 * sine, 200 - 50 * sine - 50 * cosine
    assert clockwise[round(y), round(x)] and x > 165


def test_the_label_stands_above_the_box_in_ink_on_its_colour():
    pixels = draw((600, 600), Face((240, 300, 360, 420), 0.9))
    label = pixels[:299]
    left, top, right, bottom = extent(painted(label))
    width, height = text_size(120 / 6)
    assert (left, bottom) == (240, 299)
    assert right - left == pytest.approx(width, abs=1)
    assert 300 - top == pytest.approx(height, abs=1)
    box = label[top:bottom, left:right].reshape(-1, 3)
    assert ((box == COLOUR).all(axis=1)).mean() > 0.5
    assert 0.05 < (box < 40).all(axis=1).mean() < 0.4
    rows = (label[top:bottom, left:right] < 40).all(axis=2)
    assert extent(rows) == pytest.approx((0, 0, right - left, bottom - top), abs=4)


@pytest.mark.parametrize(
    ("face", "side", "size"), [(120, 600, 20), (30, 600, 10), (500, 600, 50), (90, 120, 10)]
)
def test_the_text_is_as_large_as_the_face_and_the_picture_allow(face: int, side: int, size: int):
    lines = ["25-32 (61%), 29 y"]
    pixels = draw((side, side + 200), Face((0, 200, face, 200 + face), 0.9), lines)
    left, top, right, _ = extent(painted(pixels[:199]))
    assert (right - left, 200 - top) == pytest.approx(text_size(size, lines), abs=1.01)
    assert left == 0


def test_a_label_stays_inside_the_picture():
    wanted = draw((300, 300), Face((0, 100, 60, 160), 0.9))[:99]
    height, width = extent(painted(wanted))[3] - extent(painted(wanted))[1], text_size(10)[0]
    right = draw((300, 300), Face((230, 100, 290, 160), 0.9))[:99]
    place = extent(painted(right))
    assert place[2] == 300 and place[0] == pytest.approx(300 - width, abs=1)
    left = draw((300, 300), Face((-20, 100, 40, 160), 0.9))[:99]
    np.testing.assert_array_equal(left, wanted)
    for above in (-20, 5):
        mask = painted(draw((300, 300), Face((100, above, 260, 160 + above), 0.9)))
        filled = mask[:, 110:150].all(axis=1)
        assert filled[max(0, above) + 1 : max(0, above) + height].all()
        assert not filled[max(0, above) + 60] and not mask[: max(0, above - 1)].any()
    # Where there is just room enough, it stands above.
    mask = painted(draw((300, 300), Face((100, height + 1, 160, height + 61), 0.9)))
    assert mask[1 : height + 1, 110].all() and not mask[height + 5, 110]


def test_the_whole_picture_is_labelled_without_a_box():
    pixels = draw((480, 240), None, ["cnn 25-32"])
    assert extent(painted(pixels)) == pytest.approx((0, 0, *text_size(20, ["cnn 25-32"])), abs=1.01)


def test_all_faces_are_drawn_and_the_picture_given_stays_as_it_was():
    image = Image.new("RGB", (400, 200), GROUND)
    faces = {Face((20, 60, 80, 120), 0.9): ["x"], Face((320, 60, 380, 120), 0.8): ["y"]}
    mask = painted(np.asarray(draw_faces(image, faces)))
    assert mask[90, [20, 80, 320, 380]].all() and not mask[:, 100:300].any()
    assert not painted(np.asarray(image)).any()


def test_a_face_of_a_reduced_picture_is_drawn_where_it_is_seen():
    """A picture that was decoded at a quarter of its sides, and a face in the file's pixels."""
    image = Image.new("RGB", (200, 200), GROUND)
    image.info["agecli reduced"] = 4
    mask = painted(np.asarray(draw_faces(image, {Face((320, 320, 640, 640), 0.9): ["x"]})))
    assert mask[120, [80, 160]].all() and extent(mask[81:])[3] == pytest.approx(80, abs=1)
