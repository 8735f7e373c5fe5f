"""Crops, against PIL's own resizing and turning, and against chips that are known."""

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.data import images
from agecli.faces import Face, crops
from agecli.faces.geometry import Similarity, centre, scaled, side, turn

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


def placed(angle: float = 0, scale: float = 1, x: float = 0, y: float = 0) -> Face:
    """Return a face with the landmarks of a chip that was rotated, scaled and shifted."""
    similarity = Similarity(scale, angle, (x, y))
    return Face((0, 0, 1, 1), 0.9, 0.0, tuple(map(similarity, crops.CHIP_POINTS)))


@pytest.mark.parametrize(("angle", "scale"), [(0, 1), (30, 0.2), (-75, 3)])
def test_a_face_is_aligned_to_the_chip_that_shows_its_points_in_their_places(angle, scale):
    face = crops.align(placed(angle, scale, 300, 200))
    assert face.angle == pytest.approx(angle, abs=0.1)
    shown = crops.crop_box(face.box)
    assert side(shown) == pytest.approx(crops.CHIP * scale, abs=1.5)
    middle = Similarity(scale, angle, (300, 200))((100, 100))
    assert centre(shown) == pytest.approx(middle, abs=0.6)


def test_a_face_in_profile_is_left_in_its_box():
    """Its eyes lie nearly above each other: the chip's points, pressed together sideways."""
    profile = tuple((100 + 0.2 * (x - 100), y) for x, y in crops.CHIP_POINTS)
    face = Face((10, 10, 110, 110), 0.9, 0.0, profile)
    assert crops.align(face) is face
    threequarter = tuple((100 + 0.7 * (x - 100), y) for x, y in crops.CHIP_POINTS)
    assert crops.align(replace(face, points=threequarter)).box != face.box


def test_a_face_without_points_is_left_in_its_box():
    for points in ((), ((5.0, 5.0),) * 5):
        face = Face((10, 10, 110, 110), 0.9, 0.0, points)
        assert crops.align(face) is face


def test_the_crop_of_a_turned_chip_is_the_chip():
    chip = Image.fromarray(np.random.default_rng(5).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    chip = chip.resize((200, 200), Image.Resampling.BICUBIC)
    scene = Image.new("RGB", (400, 400))
    scene.paste(chip, (100, 100))
    turned = scene.rotate(-20, Image.Resampling.BICUBIC)
    points = tuple(
        (200 + right, 200 + down)
        for right, down in (turn((x - 100, y - 100), 20) for x, y in crops.CHIP_POINTS)
    )
    face = crops.align(Face((0, 0, 1, 1), 0.9, 0.0, points))
    shown = crops.crop(turned, face, 100)
    truth = np.asarray(chip.resize((100, 100), Image.Resampling.BILINEAR), float)
    assert np.abs(shown - truth)[5:-5, 5:-5].mean() < 4


def test_a_huge_face_takes_the_memory_of_its_crop():
    image = Image.new("RGB", (4000, 3000), (10, 200, 30))
    tracemalloc.start()
    crop = crops.cut(image, (-2000, -2000, 5000, 5000), 32, 10.0)
    assert tracemalloc.get_traced_memory()[1] < 3e6  # the square has 147 MB
    tracemalloc.stop()
    assert (crop == (10, 200, 30)).all()


def test_a_picture_that_was_decoded_smaller_is_cropped_alike():
    """A face's pixels are the file's, whatever was decoded of it."""
    image = Image.open(PORTRAIT).convert("RGB")
    face = Face((180, 80, 268, 168), 0.9, 10.0)
    whole = crops.crop(image.resize((2048, 2048)), scaled(face, 4), 32)
    buffer = io.BytesIO()
    image.resize((2048, 2048)).save(buffer, "JPEG", quality=95)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "DRAFT_PIXELS", 2_000_000)
        smaller = images.read_image(buffer.getvalue())
    assert smaller.size == (1024, 1024)
    shown = crops.crop(smaller, scaled(face, 4), 32)
    assert np.abs(shown.astype(float) - whole).mean() < 4


def test_crop_box_is_square_around_the_face():
    assert crops.crop_box((10, 20, 110, 120), 0.1) == pytest.approx((0, 10, 120, 130))
    assert crops.crop_box((0, 0, 100, 80), 0) == (0, -10, 100, 90)


def test_crop_is_pils_resize_inside_the_picture():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    crop = crops.cut(image, (10.5, 20.25, 70.5, 80.25), 24)
    truth = image.resize((24, 24), Image.Resampling.BILINEAR, box=(10.5, 20.25, 70.5, 80.25))
    assert crop.shape == (24, 24, 3)
    np.testing.assert_array_equal(crop, np.asarray(truth))


def test_crop_beyond_the_border_repeats_the_edge_and_shifts_nothing():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    crop = crops.cut(Image.fromarray(pixels), (-10, 20, 30, 60), 40)
    truth = np.pad(pixels, ((0, 20), (10, 0), (0, 0)), mode="edge")[20:60, 0:40]
    np.testing.assert_array_equal(crop, truth)


def test_a_turned_crop_shows_the_picture_turned_back():
    """Against PIL's rotation of the whole picture, cut by its own resize."""
    rng = np.random.default_rng(2)
    small = Image.fromarray(rng.integers(0, 256, (20, 26, 3), dtype=np.uint8))
    image = small.resize((260, 200), Image.Resampling.BICUBIC)
    box = (80.0, 60.0, 160.0, 140.0)
    crop = crops.cut(image, box, 40, 33.0)
    upright = image.rotate(33.0, Image.Resampling.BICUBIC, center=(120, 100))
    truth = np.asarray(upright.resize((40, 40), Image.Resampling.BILINEAR, box=box), float)
    assert crop.shape == (40, 40, 3)
    assert np.abs(crop - truth).mean() < 3
    assert np.abs(crops.cut(image, box, 40, -33.0) - truth).mean() > 20


def slopes(size: tuple[int, int], steep: float) -> Image.Image:
    """A picture that brightens to the right in red, downwards in green, 128 in its middle."""
    x, y = np.meshgrid(*(np.arange(n) + 0.5 - n / 2 for n in size))
    return Image.fromarray(
        np.clip(128 + steep * np.stack([x, y, 0 * x], 2), 0, 255).round().astype(np.uint8)
    )


@pytest.mark.parametrize("angle", [0, 10, -33, 120])
@pytest.mark.parametrize(("size", "finer"), [(40, 2), (41, 2), (40, 1)])
def test_a_crop_of_slopes_has_the_slopes_where_they_are(angle: float, size: int, finer: float):
    """Two levels a pixel: the crop's place is right to a third of a pixel."""
    across, down = 3.0, -5.0  # of the box's middle, from the picture's
    box = (130 + across - 25, 100 + down - 25, 130 + across + 25, 100 + down + 25)
    crop = crops.cut(slopes((260, 200), 2), box, size, angle, finer).astype(float)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * 50
    x, y = np.meshgrid(steps, steps)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    truth = 128 + 2 * np.stack([across + c * x - s * y, down + s * x + c * y], 2)
    inside = slice(2, -2)  # the turned crop's border is blurred
    difference = (crop[..., :2] - truth)[inside, inside]
    assert np.abs(difference).max() < 2.5
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.6  # PIL's turning leaves half a level out


@pytest.mark.parametrize(
    "box", [(300, 200, 1700, 1600), (-500, 100, 900, 1500), (900, -700, 2300, 700),
            (400, 600, 2600, 2800), (-100, -100, 2100, 2100), (2100, 100, 3500, 1500),
            (100, 1900, 1500, 3300), (-1600, -1500, -200, -100)],
)  # fmt: skip
def test_a_crop_of_a_large_face_is_the_crop_of_the_whole_picture(box: tuple[int, ...]):
    image = slopes((2000, 1800), 0.07)
    crop = crops.cut(image, box, 20).astype(float)
    x, y = (box[n] + (np.arange(20) + 0.5) / 20 * (box[n + 2] - box[n]) for n in (0, 1))
    x, y = np.meshgrid(np.clip(x, 0, 2000) - 1000, np.clip(y, 0, 1800) - 900)
    np.testing.assert_allclose(crop[..., 0], 128 + 0.07 * x, atol=3)
    np.testing.assert_allclose(crop[..., 1], 128 + 0.07 * y, atol=3)


@pytest.mark.parametrize(("side", "pixels"), [(599, 3000), (600, 300), (900, 300), (1199, 400)])
def test_a_face_of_more_pixels_than_its_crop_needs_is_reduced(side: int, pixels: int):
    """To 3 for each pixel of a crop of 100: of 600 pixels, every two become one."""
    image, box = Image.new("RGB", (3000, 3000)), (100, 200, 100 + side, 200 + side)
    small, place = crops._reduced(image, box, 100)
    assert small.width == pytest.approx(pixels, abs=1)
    assert (side / (place[2] - place[0])) == (1 if side < 600 else side // 300)


@pytest.mark.parametrize("box", [(-10, 8, 22, 40), (8, -10, 40, 22), (20, 8, 52, 40),
                                 (8, 20, 40, 52), (-3, -4, 45, 44), (-1, 8, 31, 40),
                                 (8, -1, 40, 31), (9, 8, 41, 40), (8, 9, 40, 41)])  # fmt: skip
def test_a_crop_beyond_one_border_repeats_that_edge(box: tuple[int, ...]):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    size = box[2] - box[0]
    wide = np.pad(pixels, ((20, 20), (20, 20), (0, 0)), mode="edge")
    truth = wide[box[1] + 20 : box[3] + 20, box[0] + 20 : box[2] + 20]
    np.testing.assert_array_equal(crops.cut(Image.fromarray(pixels), box, size), truth)


def test_a_turned_crop_is_without_aliasing_and_repeats_the_edge():
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[::2] = 255  # stripes that a tenth of the size cannot show
    crop = crops.cut(Image.fromarray(fine), (50, 50, 350, 350), 30, 20.0)
    assert np.abs(crop.astype(int) - 127).max() < 25
    flat = Image.new("RGB", (30, 30), (10, 200, 30))
    beyond = crops.cut(flat, (-20, -20, 25, 25), 16, 45.0)
    assert (beyond == (10, 200, 30)).all()


def test_a_box_outside_the_picture_shows_its_nearest_pixels():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    crop = crops.cut(Image.fromarray(pixels), (-9, -9, -1, -1), 8)
    assert (crop == pixels[0, 0]).all()
