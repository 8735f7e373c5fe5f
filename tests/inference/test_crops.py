import numpy as np
import pytest
from PIL import Image

from agecli.inference import crops


def test_crop_box_is_square_around_the_face():
    assert crops.crop_box((10, 20, 110, 120), 0.1) == pytest.approx((0, 10, 120, 130))
    assert crops.crop_box((0, 0, 100, 80), 0) == (0, -10, 100, 90)


def test_crop_is_pils_resize_inside_the_picture():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    crop = crops.crop_face(image, (10.5, 20.25, 70.5, 80.25), 24)
    truth = image.resize((24, 24), Image.Resampling.BILINEAR, box=(10.5, 20.25, 70.5, 80.25))
    assert crop.shape == (24, 24, 3)
    np.testing.assert_array_equal(crop, np.asarray(truth))


def test_crop_beyond_the_border_repeats_the_edge_and_shifts_nothing():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    crop = crops.crop_face(Image.fromarray(pixels), (-10, 20, 30, 60), 40)
    truth = np.pad(pixels, ((0, 20), (10, 0), (0, 0)), mode="edge")[20:60, 0:40]
    np.testing.assert_array_equal(crop, truth)


def test_a_turned_crop_shows_the_picture_turned_back():
    """Against PIL's rotation of the whole picture, cut by its own resize."""
    rng = np.random.default_rng(2)
    small = Image.fromarray(rng.integers(0, 256, (20, 26, 3), dtype=np.uint8))
    image = small.resize((260, 200), Image.Resampling.BICUBIC)
    box = (80.0, 60.0, 160.0, 140.0)
    crop = crops.crop_face(image, box, 40, 33.0)
    upright = image.rotate(33.0, Image.Resampling.BICUBIC, center=(120, 100))
    truth = np.asarray(upright.resize((40, 40), Image.Resampling.BILINEAR, box=box), float)
    assert crop.shape == (40, 40, 3)
    assert np.abs(crop - truth).mean() < 3
    assert np.abs(crops.crop_face(image, box, 40, -33.0) - truth).mean() > 20


def test_a_turned_crop_is_without_aliasing_and_repeats_the_edge():
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[::2] = 255  # stripes that a tenth of the size cannot show
    crop = crops.crop_face(Image.fromarray(fine), (50, 50, 350, 350), 30, 20.0)
    assert np.abs(crop.astype(int) - 127).max() < 25
    flat = Image.new("RGB", (30, 30), (10, 200, 30))
    beyond = crops.crop_face(flat, (-20, -20, 25, 25), 16, 45.0)
    assert (beyond == (10, 200, 30)).all()


def test_a_box_outside_the_picture_shows_its_nearest_pixels():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    crop = crops.crop_face(Image.fromarray(pixels), (-9, -9, -1, -1), 8)
    assert (crop == pixels[0, 0]).all()


def test_corners_turn_clockwise_as_seen():
    corners = crops.turned((0, 0, 10, 10), 90)
    np.testing.assert_allclose(corners, [(10, 0), (10, 10), (0, 10), (0, 0)], atol=1e-9)
