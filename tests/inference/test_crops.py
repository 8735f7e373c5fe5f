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
