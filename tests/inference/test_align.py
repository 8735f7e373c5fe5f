"""The aligner at inference: numpy against torch, and known turns of a portrait undone."""

from __future__ import annotations

import subprocess
import sys
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agecli.errors import WeightsError
from agecli.inference import align
from agecli.inference.align import Network, align_chips, estimate, refine
from agecli.inference.crops import crop_box, crop_face
from agecli.inference.faces import Face
from agecli.models.aligner import SIDE, STRIDES, Aligner
from agecli.weights import AlignerMetadata, aligner_file, save_weights

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
BOX = (178, 77, 270, 169)
"""Of the portrait's face, whose eyes lie 4 degrees aslant."""


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(PORTRAIT).convert("RGB")


def trained_norms(model: torch.nn.Module) -> None:
    for name, tensor in model.named_buffers():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.2, 2)


def test_numpy_answers_as_torch_does(tmp_path: Path):
    torch.manual_seed(3)
    model = Aligner().eval()
    trained_norms(model)
    metadata = AlignerMetadata(SIDE, list(STRIDES), "", {}, {})
    save_weights(tmp_path / "a.safetensors", model.state_dict(), metadata, half=False)
    pictures = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.inference_mode():
        truth = model(torch.from_numpy(pictures).permute(0, 3, 1, 2).float()).numpy()
    assert truth.std(axis=0).max() > 1e-3  # pictures differ in their answers
    answers = Network(tmp_path / "a.safetensors")(pictures)
    np.testing.assert_allclose(answers, truth, atol=1e-4)


@pytest.mark.parametrize(
    ("angle", "scale", "right", "down"),
    [(0, 1, 0, 0), (30, 1, 0, 0), (-30, 1.2, 0.1, 0), (15, 0.75, -0.1, 0.15), (-44, 1.4, 0, -0.1)],
)
def test_refine_undoes_a_known_turn(
    portrait: Image.Image, angle: float, scale: float, right: float, down: float
):
    """The picture is turned around the face, and the box that is given is wrong on purpose."""
    (upright,) = refine(portrait, [Face(BOX, 1.0)])
    x, y = (BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2
    turned = portrait.rotate(-angle, Image.Resampling.BICUBIC, center=(x, y))
    half, x, y = 46 * scale, x + 92 * right, y + 92 * down
    box = tuple(map(round, (x - half, y - half, x + half, y + half)))
    (face,) = refine(turned, [Face(box, 1.0)])
    assert face.angle - upright.angle == pytest.approx(angle, abs=3)
    place, truth = np.array(face.box), np.array(upright.box)
    centre = np.array([(BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2])
    c, s = cos(radians(angle)), sin(radians(angle))
    wanted = centre + np.array([[c, -s], [s, c]]) @ ((truth[:2] + truth[2:]) / 2 - centre)
    np.testing.assert_allclose((place[:2] + place[2:]) / 2, wanted, atol=0.03 * 92)
    assert place[2] - place[0] == pytest.approx(truth[2] - truth[0], rel=0.06)
    crop = crop_face(turned, crop_box(face.box), 64, face.angle).astype(float)
    alike = crop_face(portrait, crop_box(upright.box), 64, upright.angle).astype(float)
    shift = crop_face(portrait, crop_box(BOX), 64, upright.angle + 15).astype(float)
    assert np.abs(crop - alike).mean() < 0.5 * np.abs(shift - alike).mean()


def test_a_tilt_beyond_its_range_is_found_from_the_detectors(portrait: Image.Image):
    (upright,) = refine(portrait, [Face(BOX, 1.0)])
    centre = ((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2)
    turned = portrait.rotate(-70, Image.Resampling.BICUBIC, center=centre)
    (face,) = refine(turned, [Face(BOX, 1.0, 45.0)])
    assert face.angle - upright.angle == pytest.approx(70, abs=3)


def test_faces_get_one_score_and_other_things_a_low_one(portrait: Image.Image):
    (face,) = refine(portrait, [Face(BOX, 0.3)])
    assert 0.9 < face.score <= 1
    (badge,) = refine(portrait, [Face((330, 360, 430, 460), 0.3)])  # on the suit
    assert badge.score < 0.2
    assert align.face_score(1.0, 3.0) > align.face_score(0.0, 3.0) > align.face_score(0.0, 0.0)


def test_finds_of_the_same_face_become_one_in_order(portrait: Image.Image):
    other = (330, 360, 430, 460)
    faces = refine(portrait, [Face(other, 0.1), Face(BOX, 0.5), Face((170, 70, 285, 185), 1.0)])
    assert len(faces) == 2
    assert faces[1].score > faces[0].score
    assert refine(portrait, []) == []


def test_chips_are_measured_and_set_upright(portrait: Image.Image):
    (face,) = refine(portrait, [Face(BOX, 1.0)])
    frame = crop_box(face.box)
    centre, side = ((frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2), frame[2] - frame[0]
    wide = (centre[0] - side * 0.7, centre[1] - side * 0.6)
    box = (*wide, wide[0] + side * 1.2, wide[1] + side * 1.2)
    chips = np.stack([crop_face(portrait, box, 120, 0.0), crop_face(portrait, frame, 120, -25.0)])
    found = estimate(chips)
    assert found.angle == pytest.approx([face.angle, face.angle + 25], abs=3)
    assert found.scale == pytest.approx([1 / 1.2, 1], rel=0.06)
    np.testing.assert_allclose(found.shift, [[0.1 / 1.2, 0], [0, 0]], atol=0.03)
    assert found.confidence.min() > 0.9
    straight = align_chips(chips)
    assert straight.shape == chips.shape
    assert straight.dtype == np.uint8
    truth = crop_face(portrait, frame, 120, face.angle).astype(float)
    for chip, before in zip(straight.astype(float), chips.astype(float), strict=True):
        inner = slice(20, 100)  # what lay outside of the chip is lost
        now = np.abs(chip - truth)[inner, inner].mean()
        assert now < 0.5 * np.abs(before - truth)[inner, inner].mean()
    assert align_chips(chips[:0]).shape == (0, 120, 120, 3)
    assert estimate(chips[:0]).shift.shape == (0, 2)


def test_a_face_beyond_the_border_is_no_error(portrait: Image.Image):
    assert len(refine(portrait, [Face((-300, -300, -200, -200), 0.1)])) == 1


def test_the_released_aligner_is_small_and_says_how_well_it_does():
    assert aligner_file().stat().st_size < 1_000_000
    metrics = align.read_aligner(aligner_file())[0].metrics
    assert metrics["n"] > 2000
    assert metrics["auc"] >= 0.99


def test_a_missing_aligner_is_named_with_the_ways_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(align, "aligner_file", lambda: tmp_path / "aligner.safetensors")
    align.load_network.cache_clear()
    with pytest.raises(WeightsError, match=r"--align none"):
        refine(Image.new("RGB", (50, 50)), [Face((10, 10, 40, 40), 1.0)])


def test_aligning_loads_no_torch():
    code = (
        "import sys; from agecli.inference.align import estimate; import numpy as np;"
        "estimate(np.zeros((1, 64, 64, 3), np.uint8)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_aligner_tells_faces_among_weak_finds(portrait, monkeypatch):
    """A weak find on the portrait's face is kept by it, one on the wall is not."""
    from agecli.inference import pictures

    weak = [Face(BOX, 0.05), Face((0, 300, 90, 390), 0.05)]

    def detect(image, least_score=0.3):
        return [face for face in weak if face.score >= least_score]

    monkeypatch.setattr(pictures, "detect", detect)
    (found,) = pictures.Find(align="aligner", least_score=0.5).faces(portrait)
    assert found.score > 0.8 and abs(found.box[0] - BOX[0]) < 15
    assert pictures.Find(align="none").faces(portrait) == []
