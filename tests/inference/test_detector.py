"""dlib's detector against dlib's own copy, alone and from several threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.inference import detector

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(Image.open(PORTRAIT).convert("RGB"))


def test_the_shipped_detector_is_dlibs_own(pixels: np.ndarray):
    import dlib

    boxes, scores, verdicts = dlib.get_frontal_face_detector().run(pixels, 0, -0.5)
    found = detector.look(pixels, -0.5)
    assert len(found) > 1
    assert [find.score for find in found] == list(scores)
    assert [find.tilt for find in found] == [detector.TILTS[verdict] for verdict in verdicts]
    assert [find.box[:2] for find in found] == [(box.left(), box.top()) for box in boxes]
    assert [find.box[2] - find.box[0] for find in found] == [box.width() for box in boxes]


def test_falls_back_to_dlibs_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "other.svm").write_bytes(b"another format")
    monkeypatch.setattr(detector, "DETECTOR_FILE", tmp_path / "other.svm")
    assert detector._load().num_detectors == 5


@pytest.mark.parametrize(("turn", "tilt"), [(0, 0), (-22, 22), (22, -22)])
def test_tells_which_way_a_head_is_tilted(pixels: np.ndarray, turn: int, tilt: int):
    """PIL turns anticlockwise; a tilt is clockwise."""
    turned = Image.fromarray(pixels).rotate(turn, Image.Resampling.BICUBIC)
    best = max(detector.look(np.asarray(turned)), key=lambda find: find.score)
    assert best.tilt == tilt


def test_threads_look_at_the_same_time(pixels: np.ndarray):
    """A detector shared between threads ends the process within a few looks."""
    alone = detector.look(pixels)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.look, [pixels] * 16)) == [alone] * 16
