"""Faces: the shipped portrait at sizes and places that are known, and crops by hand."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.inference import faces

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
FACE = (179, 83, 267, 171)
"""Where her face is, found by eye to within a few pixels."""


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(PORTRAIT).convert("RGB")


def close(box: tuple[float, ...], truth: tuple[float, ...], share: float = 0.12) -> bool:
    return max(abs(a - b) for a, b in zip(box, truth, strict=True)) < share * (truth[2] - truth[0])


def test_finds_the_one_face(portrait: Image.Image):
    found = faces.detect(portrait)
    assert len(found) == 1
    assert close(found[0].box, FACE)
    assert found[0].score > 1


@pytest.mark.parametrize("factor", [0.5, 2, 8])
def test_boxes_are_in_the_pictures_own_pixels(portrait: Image.Image, factor: float):
    """Small faces are enlarged, large pictures reduced; the box does not tell."""
    scaled = portrait.resize((round(512 * factor), round(512 * factor)), Image.Resampling.BICUBIC)
    found = faces.detect(scaled)
    assert close(tuple(v / factor for v in found[0].box), FACE)


def test_finds_all_faces_the_largest_first(portrait: Image.Image):
    head = portrait.crop((92, 0, 348, 256))  # her face is at (87, 83) in it
    scene = Image.new("RGB", (900, 512), (120, 120, 120))
    scene.paste(head.resize((128, 128), Image.Resampling.BICUBIC), (20, 20))
    scene.paste(head, (500, 100))
    boxes = [face.box for face in faces.detect(scene)]
    assert len(boxes) == 2
    assert close(boxes[0], (587, 183, 675, 271))
    assert close(boxes[1], (63.5, 61.5, 107.5, 105.5), 0.2)


def test_finds_the_face_of_a_tight_crop(portrait: Image.Image):
    crop = portrait.crop((167, 71, 279, 183)).resize((200, 200), Image.Resampling.BICUBIC)
    (face,) = faces.detect(crop)
    assert close(face.box, (21, 21, 179, 179), 0.2)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (64, 64)])
def test_finds_nothing_where_there_is_nothing(size: tuple[int, int]):
    assert faces.detect(Image.new("RGB", size, (90, 120, 150))) == []


def test_the_shipped_detector_is_dlibs_own(portrait: Image.Image):
    import dlib

    pixels = np.asarray(portrait)
    own = dlib.get_frontal_face_detector().run(pixels, 0, -0.5)
    shipped = faces._detector().run(pixels, 0, -0.5)
    assert list(own[0]) == list(shipped[0])
    assert own[1] == shipped[1]


def test_falls_back_to_dlibs_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "other.svm").write_bytes(b"another format")
    monkeypatch.setattr(faces, "DETECTOR_FILE", tmp_path / "other.svm")
    assert faces._load_detector().num_detectors == 5


def test_crop_largest_for_prepare(portrait: Image.Image):
    crop = pickle.loads(pickle.dumps(faces.crop_largest))(portrait)
    assert crop.width == crop.height
    assert 88 <= crop.width <= 110
    assert faces.crop_largest(Image.new("RGB", (300, 200))) is None
