"""Files are told apart by their content, and answered with what to give instead."""

import zipfile
from pathlib import Path

import pytest
import torch

from agecli.errors import WeightsError
from agecli.formats import format_of
from agecli.weights import read_metadata

CASES = Path(__file__).parents[2] / "shared" / "cases"


def state(path: Path) -> None:
    torch.save({"model": {"w": torch.zeros(3)}}, path)


def old_pickle(path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def keras(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            file.writestr(name, "{}")


def program(path: Path) -> None:
    exported = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(exported, path)


def holding(content: bytes):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "what"),
    [(holding(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
      r"is a git-lfs pointer: run `git lfs pull`"),
     (holding(b"\n<!DOCTYPE html><html><title>404"), "is a web page, .*: download the file itself"),
     (holding(b"\x89HDF\r\n\x1a\n" + bytes(40)), "is a Keras or another HDF5 file: use a file of"),
     (holding(b"\x1f\x8b\x08" + bytes(40)), "is a packed archive: unpack it"),
     (holding(b"\xff\xd8\xff\xe0" + bytes(40)), "is an image: use a file of `agecli train`"),
     (holding(b""), "is an empty file: copy or make it again"),
     (state, "is a PyTorch checkpoint: use a run's folder"),
     (old_pickle, "is a PyTorch checkpoint: "),
     (keras, "is a Keras model: use a file of `agecli train`"),
     (program, "is a program for torch.export.load: use the weights it was made from")],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".pt"])
def test_what_is_not_weights_is_named_with_what_to_give(tmp_path, make, what: str, suffix: str):
    path = tmp_path / f"x{suffix}"
    make(path)
    with pytest.raises(WeightsError, match=what) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)


def test_the_two_kinds_of_weights_are_not_taken_for_each_other(tmp_path, toy_onnx: Path):
    swapped = tmp_path / "x.safetensors"
    swapped.write_bytes(toy_onnx.read_bytes())
    with pytest.raises(WeightsError, match=r"x\.safetensors is an ONNX file: rename it to x\.onnx"):
        read_metadata(swapped)
    swapped = tmp_path / "x.onnx"
    swapped.write_bytes(toy_onnx.with_name("cnn.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"is a safetensors file: rename it to x\.safetensors"):
        read_metadata(swapped)


def test_text_and_what_cannot_be_read_have_no_format(tmp_path: Path):
    (tmp_path / "notes.md").write_text("# Notes")
    assert format_of(tmp_path / "notes.md") is None
    assert format_of(tmp_path / "none") is None
    assert format_of(tmp_path) is None


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_pointer_of_the_cases_is_named():
    with pytest.raises(WeightsError, match="is a git-lfs pointer: run `git lfs pull`"):
        read_metadata(CASES / "lfs.safetensors")
