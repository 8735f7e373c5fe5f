import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.inference.pictures import read_pictures
from demo.reading import Refused, decode, read_picture
from tests.demo.pictures import PORTRAIT, animation, png, write_troubles

VIEWS = {(32, 0.066), (48, 0.0)}


def test_crops_are_the_predictors_own():
    picture = read_picture("a.jpg", PORTRAIT.read_bytes(), VIEWS, 10**7)
    (wanted,) = read_pictures([PORTRAIT], VIEWS)
    assert picture.faces == wanted.faces
    crop = picture.crop(0)
    assert set(crop.crops) == VIEWS
    for view in VIEWS:
        np.testing.assert_array_equal(crop.crops[view], wanted.crops[view])


def test_a_margin_is_added_to_each_models_own():
    picture = read_picture("a.jpg", PORTRAIT.read_bytes(), VIEWS, 10**7)
    (wanted,) = read_pictures([PORTRAIT], {(32, 0.066 + 0.2), (48, 0.2)})
    crop = picture.crop(0, 0.2)
    np.testing.assert_array_equal(crop.crops[(32, 0.066)], wanted.crops[(32, 0.066 + 0.2)])
    np.testing.assert_array_equal(crop.crops[(48, 0.0)], wanted.crops[(48, 0.2)])


def test_troubles_are_refused_in_words(tmp_path: Path):
    for words, path in write_troubles(tmp_path).items():
        with pytest.raises(Refused, match=words.strip()):
            read_picture(path.name, path.read_bytes(), VIEWS, 10**7)
    with pytest.raises(Refused, match="3 MB; the most is 2 MB"):
        decode(bytes(3 * 10**6), 2 * 10**6)
    with pytest.raises(Refused, match="Models tab"):
        read_picture("a.jpg", PORTRAIT.read_bytes(), set(), 10**7)


def test_animations_are_told(tmp_path: Path):
    still = png(Image.new("RGB", (8, 8)))
    assert decode(still, 10**6)[1] is False
    image, animated = decode(animation(tmp_path / "two.gif").read_bytes(), 10**7)
    assert animated is True
    assert np.abs(
        np.asarray(image, float) - np.asarray(Image.open(PORTRAIT).convert("RGB"), float)
    ).mean() < 12  # fmt: skip


def test_phones_pictures_are_turned():
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue(), 10**6)[0].size == (20, 40)
