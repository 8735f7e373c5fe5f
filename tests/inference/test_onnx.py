"""An exported model in the predictor, against the weights it was made of."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from agecli.data.store import open_dataset
from agecli.errors import AgecliError, UsageError, WeightsError
from agecli.evaluation.scoring import evaluate_model
from agecli.inference.onnx import OnnxModel
from agecli.inference.predictor import Predictor, load_model

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "demo/examples/astronaut.jpg"


@pytest.fixture
def source(toy_onnx: Path) -> Path:
    return toy_onnx.with_name("cnn.safetensors")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("side", [32, 50])
def test_distributions_are_the_originals(source: Path, toy_onnx: Path, side: int, flip: bool):
    smooth = np.linspace(0, 255, side * side * 3).reshape(1, side, side, 3)
    pixels = np.concatenate([smooth, smooth[:, ::-1], smooth.transpose(0, 2, 1, 3)])
    pixels = pixels.astype(np.uint8)
    ours = load_model(source, "cpu").distributions(pixels, flip=flip)
    theirs = load_model(toy_onnx, "cpu").distributions(pixels, flip=flip)
    assert theirs.shape == (3, 101)
    # of another side, they are resized by torch and by PIL: a level of 255 apart at most
    np.testing.assert_allclose(theirs, ours, atol=1e-5 if side == 32 else 2e-3)


def test_rows_are_the_originals_and_files_mix(source: Path, toy_onnx: Path):
    rows = list(Predictor([source, toy_onnx], device="cpu").predict([PORTRAIT]))
    assert [row.model for row in rows] == [str(source), str(toy_onnx)]
    assert rows[0].face == rows[1].face is not None
    assert rows[0].group == rows[1].group
    assert rows[1].age == pytest.approx(rows[0].age, abs=0.1)
    np.testing.assert_allclose(
        list(rows[1].probabilities.values()), list(rows[0].probabilities.values()), atol=2e-4
    )


def test_evaluation_scores_it(source: Path, toy_onnx: Path, dataset_folder: Path):
    dataset = open_dataset(dataset_folder)
    ours, theirs = (evaluate_model(load_model(path, "cpu"), dataset) for path in (source, toy_onnx))
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=1e-4)
    assert theirs.scores.confusion == ours.scores.confusion


def test_predicting_loads_no_torch(toy_onnx: Path):
    code = (
        "import sys; from agecli.cli import main\n"
        f"sys.argv = ['agecli', 'predict', {str(PORTRAIT)!r}, '--weights', {str(toy_onnx)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', [n for n in ('torch', 'onnx', 'transformers') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip().endswith("LOADED []"), result.stderr
    assert "60+" in result.stdout


def test_wrong_use(toy_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="no mps here"):
        OnnxModel(toy_onnx, "mps")
    broken = tmp_path / "broken.onnx"
    content = toy_onnx.read_bytes()
    broken.write_bytes(content.replace(b"Conv", b"Conw"))
    with pytest.raises(WeightsError, match=r"broken\.onnx cannot be run"):
        OnnxModel(broken)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AgecliError, match=r'needs onnxruntime: pip install "agecli\[onnx\]"'):
        OnnxModel(toy_onnx)


def changed(toy_onnx: Path, path: Path, change: Callable[[Any], object]) -> Path:
    """Write a copy of an export whose network is changed."""
    model = onnx.load(toy_onnx)
    change(model.graph)
    onnx.save(model, path)
    return path


def hold_elsewhere(graph: Any) -> None:
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")


def set_side(graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64


@pytest.mark.parametrize(
    ("change", "reason"),
    [(set_side, r"takes .*64.*, not images of 32 px"),
     (lambda graph: setattr(graph.input[0].type.tensor_type, "elem_type", 1), "cannot be run"),
     (lambda graph: graph.output.pop(), "returns .*, not 101 years"),
     (lambda graph: graph.node.pop(), "cannot be run"),
     (hold_elsewhere, "cannot be run")],
)  # fmt: skip
def test_a_network_that_is_not_what_the_file_says_is_refused(
    toy_onnx: Path, tmp_path: Path, change, reason: str, capfd
):
    path = changed(toy_onnx, tmp_path / "x.onnx", change)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_model(path, "cpu")
    assert str(path) in str(caught.value) and "export it again" in str(caught.value)
    assert capfd.readouterr().out == ""
