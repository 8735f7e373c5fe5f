"""Trainings of the small model of the DINOv2 architecture, from scratch, on drawn faces."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agecli.config import CnnConfig, Dinov2Config
from agecli.errors import UsageError
from agecli.training import pytorch
from agecli.training.runs import Run
from agecli.training.transformers import settle, train
from agecli.weights import load_weights, read_metadata
from tests.exporting.models import write_model
from tests.training.test_loop import knows_its_images


@pytest.fixture(scope="module")
def scratch(dataset_folder: Path) -> Dinov2Config:
    config = Dinov2Config(
        backbone="scratch:tiny", data=str(dataset_folder), image_size=24, epochs=1, batch_size=64,
        device="cpu",
    )  # fmt: skip
    return settle(config, announce=print, dry=False)


@pytest.fixture(scope="module")
def scratch_run(scratch: Dinov2Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("scratch") / "run", scratch)
    train(scratch, run)
    return run


def test_from_scratch_all_is_trained_and_named_for_it(scratch_run: Run, dataset_folder: Path):
    metadata = read_metadata(scratch_run.best)
    assert metadata.title == "DINOv2 architecture, from scratch"
    assert metadata.backbone is None
    knows_its_images(scratch_run, dataset_folder)
    model, _ = load_weights(scratch_run.best)
    assert sum(p.numel() for p in model.parameters()) > 3e6


def first_epoch(config: Dinov2Config, folder: Path) -> tuple[dict, dict]:
    """Train by steps that are too small to change anything; give the weights and the metadata."""
    run = Run.create(folder, replace(config, lr=1e-8, weight_decay=0.0, ema=0.0))
    training = train(replace(config, lr=1e-8, weight_decay=0.0, ema=0.0), run).training
    return load_weights(run.best)[0].state_dict(), training


def test_from_scratch_it_begins_as_trained_ones_look(scratch: Dinov2Config, tmp_path: Path):
    state, training = first_epoch(scratch, tmp_path / "run")
    assert training["init"] == "mimetic"
    attention = "backbone.encoder.layer.0.attention"
    product = state[f"{attention}.o_proj.weight"] @ state[f"{attention}.v_proj.weight"]
    assert product.diagonal().mean().item() == pytest.approx(-0.4, abs=0.02)


def test_a_trained_one_is_trained_further(scratch: Dinov2Config, scratch_run: Run, tmp_path: Path):
    state, training = first_epoch(replace(scratch, init=str(scratch_run.folder)), tmp_path / "run")
    before = load_weights(scratch_run.best)[0].state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=1e-4)
    assert training["before"]["config"] == read_metadata(scratch_run.best).training["config"]


def test_what_is_pre_trained_begins_with_nothing_else(scratch_run: Run):
    with pytest.raises(UsageError, match="--init is for --backbone scratch:tiny"):
        Dinov2Config(init=str(scratch_run.folder))


def test_a_teacher_is_learned_from(dataset_folder, tmp_path):
    cnn = CnnConfig(data=str(dataset_folder), image_size=16, epochs=1, batch_size=16, device="cpu")
    teacher = Run.create(tmp_path / "cnn", cnn)
    pytorch.train(cnn, teacher)
    config = Dinov2Config(
        backbone="scratch:tiny", data=str(dataset_folder), image_size=24,
        teacher=str(teacher.folder), device="cpu", epochs=1, batch_size=32,
    )  # fmt: skip
    config = settle(config, announce=print, dry=False)
    run = Run.create(tmp_path / "run", config)
    assert train(config, run).training["config"]["teacher"] == "cnn"
    plain = replace(config, teacher="")
    train(plain, Run.create(tmp_path / "plain", plain))
    assert losses(run) != losses(Run(tmp_path / "plain"))


def losses(run: Run) -> list[float]:
    return [epoch.train_loss for epoch in run.history()]


def test_a_teacher_of_another_split_has_to_be_new_to_the_images(dataset_folder, tmp_path):
    config = Dinov2Config(backbone="scratch:tiny", data=str(dataset_folder), teacher="cnn")
    settle(config, announce=print, dry=False)
    teacher = write_model(tmp_path / "unknown.safetensors", "cnn")
    with pytest.raises(UsageError, match=r"--teacher: .*another split"):
        settle(replace(config, teacher=str(teacher)), announce=print, dry=False)
