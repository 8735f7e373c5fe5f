"""Answers on the device against the CPU's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agecli import Predictor
from agecli.data.store import open_dataset
from agecli.evaluation.scoring import evaluate_model
from agecli.inference.predictor import load_model
from tests.archives import SPREAD_AGES, draw_face
from tests.exporting.models import write_model
from tests.gpu.trainings import Toys, run_training

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::FutureWarning")]

TOLERANCE = 5e-3


@pytest.fixture(scope="module", params=("cnn", "capsnet", "resnet", "scratch"))
def weights(
    request: pytest.FixtureRequest, toys: Toys, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a model trained on the device, which distinguishes faces."""
    folder = tmp_path_factory.mktemp("answers") / "run"
    return run_training(toys.config(request.param), folder).best


def predict(weights: Path, device: str) -> tuple[np.ndarray, list[float | None]]:
    """Return the probabilities (N, groups) and the ages that a model predicts for face crops."""
    faces = [draw_face(age, age) for age in SPREAD_AGES]
    rows = list(Predictor([weights], device=device, crops=True).predict(faces))
    assert [row.status for row in rows] == ["ok"] * len(faces)
    return np.array([list(row.probabilities.values()) for row in rows]), [row.age for row in rows]


def assert_alike(weights: Path, device: str) -> None:
    found, expected = predict(weights, device), predict(weights, "cpu")
    assert np.ptp(expected[0], axis=0).max() > 0.01  # faces are told from each other
    np.testing.assert_allclose(found[0], expected[0], atol=TOLERANCE)
    if expected[1][0] is not None:
        np.testing.assert_allclose(found[1], expected[1], atol=0.5)


def test_predict(weights: Path, device: str):
    assert_alike(weights, device)


def test_evaluate(weights: Path, device: str, dataset_folder: Path):
    found, expected = (
        evaluate_model(load_model(weights, place), open_dataset(dataset_folder))
        for place in (device, "cpu")
    )
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=TOLERANCE)
    if expected.answered is not None:
        assert found.scores.mae == pytest.approx(expected.scores.mae, abs=0.1)


def test_onnx(device: str, tmp_path: Path):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    runtime = pytest.importorskip("onnxruntime")
    if device == "cuda" and "CUDAExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("onnxruntime has no CUDA here")
    from agecli.exporting.export import export

    source = write_model(tmp_path / "cnn.safetensors")
    export(source, tmp_path / "cnn.onnx")
    found, ages = predict(tmp_path / "cnn.onnx", device)
    expected, expected_ages = predict(source, "cpu")
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_allclose(ages, expected_ages, atol=0.5)
