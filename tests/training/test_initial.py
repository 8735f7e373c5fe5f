"""What a training knows of the weights it begins with or learns from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agecli.config import CnnConfig
from agecli.errors import UsageError, WeightsError
from agecli.training.initial import check_split, own_weights, training_of
from agecli.weights import read_metadata, released_folder, save_weights
from tests.exporting.models import write_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return write_model(tmp_path / "run" / "best.safetensors", "cnn", training={"seconds": 600})


def test_a_name_a_run_and_a_file_are_found(weights: Path):
    assert own_weights("cnn") == released_folder() / "cnn.safetensors"
    assert own_weights(str(weights.parent)) == own_weights(str(weights)) == weights
    assert training_of(str(weights.parent)) == {"seconds": 600}


def test_files_of_another_make_are_none_of_ours(tmp_path: Path, monkeypatch):
    save_file({"fc.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    for name in ("none", "imagenet", str(tmp_path / "other.safetensors"), "nowhere.pth"):
        assert own_weights(name) is None and training_of(name) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()  # a folder of that name is not what it says
    assert own_weights("none") is None


def test_a_folder_without_weights_is_said(tmp_path: Path):
    with pytest.raises(WeightsError, match="No weights file"):
        own_weights(str(tmp_path))
    assert training_of(str(tmp_path)) is None  # a run may be gone by the time it is resumed


def test_weights_of_another_split_are_refused(dataset_folder: Path, weights: Path):
    from agecli.data.store import open_dataset

    config = CnnConfig(data=str(dataset_folder))
    with pytest.raises(UsageError, match=r"--teacher: .*best.safetensors .*another split"):
        check_split("--teacher", weights, config)
    split_hash = open_dataset(dataset_folder).receipt["split_hash"]
    save_weights(
        weights, load_file(weights), replace(read_metadata(weights), split_hash=split_hash)
    )
    check_split("--teacher", weights, config)
