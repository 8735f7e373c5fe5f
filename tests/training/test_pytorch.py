"""The start of a PyTorch training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agecli.config import CapsNetConfig, CnnConfig, TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import UsageError
from agecli.models.dlib import read_body
from agecli.training.build import build_model, build_optimizer
from agecli.training.pytorch import train
from agecli.training.runs import Run
from agecli.weights import read_fingerprints, read_metadata, save_weights
from tests.conftest import Cli
from tests.models.dlib_file import random_layers, write_dlib
from tests.training.test_loop import history, knows_its_images, run_training, small

KINDS = {"cnn": CnnConfig, "capsnet": CapsNetConfig}


@pytest.fixture(scope="module", params=[CnnConfig, CapsNetConfig])
def first(request, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    kind: type[TrainConfig] = request.param
    return run_training(small(dataset_folder, kind), tmp_path_factory.mktemp("first") / "run")


def going_on(first: Run, dataset: Path, init: Path, **settings) -> TrainConfig:
    kind = KINDS[read_metadata(first.folder / "best.safetensors").model]
    return small(dataset, kind, init=str(init), **settings)


@pytest.mark.parametrize("name", ["", "best.safetensors"], ids=["run", "file"])
def test_a_training_begins_with_the_weights_given(
    first: Run, dataset_folder: Path, tmp_path: Path, name: str
):
    """Steps that are too small to change anything leave what the training began with."""
    config = going_on(first, dataset_folder, first.folder / name, lr=1e-8, epochs=1, ema=0.0)
    run = run_training(config, tmp_path / "run")
    before, after = (load_file(each.folder / "best.safetensors") for each in (first, run))
    matrices = [key for key, tensor in before.items() if tensor.ndim > 1]
    assert matrices
    for key in matrices:
        torch.testing.assert_close(after[key], before[key], rtol=1e-3, atol=1e-4)
    assert read_metadata(run.folder / "best.safetensors").training["init"] == (
        name or first.folder.name
    )


def test_a_weights_file_knows_what_was_seen(first: Run, dataset_folder: Path, tmp_path: Path):
    knows_its_images(first, dataset_folder)
    config = going_on(first, dataset_folder, first.folder, epochs=1, limit=32)
    assert len(read_fingerprints(run_training(config, tmp_path / "run").best)) == len(
        read_fingerprints(first.best)
    )


def test_a_resumed_training_needs_the_first_weights_no_more(
    first: Run, dataset_folder: Path, tmp_path: Path
):
    start = tmp_path / "start.safetensors"
    start.write_bytes((first.folder / "best.safetensors").read_bytes())
    config = going_on(first, dataset_folder, start, epochs=1)
    run_training(config, tmp_path / "run")
    start.unlink()
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert settings["init"] == str(start)
    run, config = Run.open(tmp_path / "run")
    assert train(config, run).training["init"] == start.name


def test_weights_of_another_split_are_refused(first: Run, dataset_folder: Path, tmp_path: Path):
    path = first.folder / "best.safetensors"
    other = tmp_path / "other.safetensors"
    save_weights(other, load_file(path), replace(read_metadata(path), split_hash="0" * 64))
    config = going_on(first, dataset_folder, other)
    with pytest.raises(UsageError, match=r"--init: .*another split"):
        run_training(config, tmp_path / "run")


def test_weights_that_do_not_fit_are_refused(first: Run, dataset_folder: Path, tmp_path: Path):
    kind = {"cnn": CapsNetConfig, "capsnet": CnnConfig}[
        read_metadata(first.folder / "best.safetensors").model
    ]
    config = small(dataset_folder, kind, init=str(first.folder))
    with pytest.raises(UsageError, match=r"--init: .* does not fit this .* settings of its train"):
        run_training(config, tmp_path / "run")
    larger = replace(going_on(first, dataset_folder, first.folder), image_size=96)
    with pytest.raises(UsageError, match=r"--init: .* does not fit this .* pass --image-size \d+$"):
        run_training(larger, tmp_path / "larger")
    assert np.isfinite(history(first)[-1]["val_loss"])  # the weights themselves are sound


def test_what_cannot_be_begun_with_is_reported_before_a_run_is_made(
    first: Run, dataset_folder: Path, tmp_path: Path, cli: Cli
):
    other = {"cnn": "capsnet", "capsnet": "cnn"}[read_metadata(first.best).model]
    result = cli(
        "train", other, "--data", dataset_folder, "--image-size", 32, "--init", first.folder,
        "--run", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith("agecli: --init: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_capsules_begin_on_dlibs_network(dataset_folder: Path, tmp_path: Path):
    start = write_dlib(tmp_path / "dlib.dat", random_layers())
    settings = {"stem": "dlib29", "image_size": 56, "lr": 1e-8, "epochs": 1, "ema": 0.0}
    config = small(dataset_folder, CapsNetConfig, init=str(start), **settings)
    run = run_training(config, tmp_path / "run")
    weights, expected = load_file(run.best), read_body(start)
    found = 0
    for name, tensor in expected.items():
        if tensor.ndim == 4 and not name.startswith("layer5"):
            stored = weights[f"stages.0.{name}"].float()
            torch.testing.assert_close(stored, tensor, rtol=1e-3, atol=1e-4)
            found += 1
    assert found == 27
    assert read_metadata(run.best).training["init"] == "dlib.dat"
    knows_its_images(run, dataset_folder)


def test_a_pretrained_stem_learns_more_slowly(dataset_folder: Path):
    scheme = open_dataset(dataset_folder).scheme
    for init, rates in (("dlib.dat", [1e-2, 1e-3]), ("none", [1e-2])):
        config = CapsNetConfig(stem="dlib29", image_size=56, init=init, lr=1e-2)
        model = build_model(config, scheme)
        groups = build_optimizer(config, model).param_groups
        assert [group["lr"] for group in groups] == pytest.approx(rates)
        counts = [sum(weights.numel() for weights in group["params"]) for group in groups]
        assert sum(counts) == sum(weights.numel() for weights in model.parameters())
        assert len(counts) == 1 or counts[1] == sum(w.numel() for w in model.body.parameters())


def test_weights_of_ours_that_are_named_like_dlibs_are_not_taken_for_them(
    first: Run, dataset_folder: Path, tmp_path: Path
):
    """Else the images that these have seen would be forgotten."""
    named = tmp_path / "weights.dat"
    named.write_bytes(first.best.read_bytes())
    kind = KINDS[read_metadata(first.best).model]
    if kind is CapsNetConfig:
        with pytest.raises(UsageError, match="--stem dlib29"):
            going_on(first, dataset_folder, named)
        return
    config = going_on(first, dataset_folder, named, epochs=1, limit=32)
    assert read_fingerprints(run_training(config, tmp_path / "run").best) is None


def test_a_run_whose_name_ends_like_dlibs_file_is_a_run(
    first: Run, dataset_folder: Path, tmp_path: Path
):
    folder = shutil.copytree(first.folder, tmp_path / "run.dat")
    config = going_on(first, dataset_folder, folder, epochs=1, limit=32)
    assert len(read_fingerprints(run_training(config, tmp_path / "run").best)) == len(
        read_fingerprints(first.best)
    )
