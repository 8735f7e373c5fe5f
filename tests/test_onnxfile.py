"""Reading an ONNX file's metadata, against the onnx package that wrote it."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from agecli.errors import WeightsError
from agecli.onnxfile import read_property
from agecli.weights import load_weights, read_metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [300], [0.1] * 300)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    graph.initializer.append(weights)
    model = helper.make_model(graph, producer_name="a test", doc_string="of words")
    helper.set_model_props(model, {"colour": "blue", "agecli": '{"é": 1}' * 100, "empty": ""})
    save(model, tmp_path / "x.onnx")
    return tmp_path / "x.onnx"


def test_properties_are_found(path: Path):
    assert read_property(path, "agecli") == '{"é": 1}' * 100
    assert read_property(path, "colour") == "blue"
    assert read_property(path, "empty") == ""
    assert read_property(path, "form") is None


@pytest.mark.parametrize("keep", [1, 5, 40, 700, -1])
def test_a_file_cut_short_is_refused(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"x\.onnx is not a complete ONNX file"):
        read_metadata(path)


def test_other_files_are_refused(path: Path):
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="not a complete ONNX file"):
        read_metadata(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="an empty file"):
        read_metadata(path)


def test_torch_is_not_given_an_export(tmp_path: Path, toy_onnx: Path):
    with pytest.raises(WeightsError, match="is an export"):
        load_weights(toy_onnx)


def test_a_file_of_countless_fields_takes_no_time(tmp_path: Path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x08\x0a" * 1_000_000)
    with pytest.raises(WeightsError, match="not a complete ONNX file"):
        read_metadata(path)
