import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.config import DETECTOR
from agecli.inference.predictor import Predictor
from demo.reading import MB, Refused, decode, read_picture
from tests.demo.pictures import PORTRAIT, animation, png, write_troubles
from tests.exporting.models import write_model

VIEWS = {(32, 0.066), (48, 0.0)}


@pytest.fixture
def reader(tmp_path: Path) -> Predictor:
    return read_as(tmp_path, 0.0)


def read_as(folder: Path, margin: float) -> Predictor:
    """Return a predictor for VIEWS, with something added to their margins."""
    paths = []
    for size, own in VIEWS:
        crop = {"detector": DETECTOR, "margin": own + margin}
        paths.append(
            write_model(
                folder / f"{size}-{margin}.safetensors", "resnet", image_size=size, crop=crop
            )
        )
    return Predictor(paths)


def test_crops_are_the_predictors_own(reader: Predictor):
    picture = read_picture("a.jpg", PORTRAIT.read_bytes(), reader, 10**7)
    (wanted,) = reader.read([PORTRAIT])
    assert picture.faces == wanted.faces
    crop = picture.crop(0)
    assert set(crop.crops) == VIEWS
    for view in VIEWS:
        np.testing.assert_array_equal(crop.crops[view], wanted.crops[view])


def test_a_margin_is_added_to_each_models_own(reader: Predictor, tmp_path: Path):
    picture = read_picture("a.jpg", PORTRAIT.read_bytes(), reader, 10**7)
    (wanted,) = read_as(tmp_path, 0.2).read([PORTRAIT])
    crop = picture.crop(0, 0.2)
    np.testing.assert_array_equal(crop.crops[(32, 0.066)], wanted.crops[(32, 0.066 + 0.2)])
    np.testing.assert_array_equal(crop.crops[(48, 0.0)], wanted.crops[(48, 0.2)])


def test_troubles_are_refused_in_words(reader: Predictor, tmp_path: Path):
    for words, path in write_troubles(tmp_path).items():
        with pytest.raises(Refused, match=words.strip()) as caught:
            read_picture(path.name, path.read_bytes(), reader, 10**7)
        assert caught.value.status == ("no_face" if "No face" in words else "unreadable")
    with pytest.raises(Refused, match=r"3\.0 MB; the most is 2 MB"):
        decode(bytes(3 * MB), 2 * MB)
    with pytest.raises(Refused, match="Models tab"):
        read_picture("a.jpg", PORTRAIT.read_bytes(), None, 10**7)


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
