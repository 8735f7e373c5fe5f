"""The names of models and data sets: short, and never alike."""

from pathlib import Path

import pytest

from agecli.errors import UsageError
from agecli.evaluation.names import data_names, model_names


def test_models_are_named_by_their_runs_or_files():
    paths = ["runs/cnn/best.safetensors", "weights/cnn.safetensors", "weights/cnn-2.safetensors"]
    assert model_names([Path(path) for path in paths]) == ["cnn", "cnn-2", "cnn-2-2"]


def test_data_sets_are_named_by_their_folders(tmp_path, monkeypatch):
    assert data_names([tmp_path / "a" / "faces", tmp_path / "b" / "faces", "more"]) == [
        "faces", "faces-2", "more"
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert data_names(["."]) == [tmp_path.name]


def test_a_data_set_given_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--data: .*one is given twice"):
        data_names([tmp_path / "one", tmp_path / "two", tmp_path / "two" / ".." / "one"])
