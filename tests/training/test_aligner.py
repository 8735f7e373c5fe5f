"""The aligner's training, at toy size: it learns, goes on where it stopped, leaves one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agecli.config import AlignerConfig
from agecli.errors import DataError, UsageError
from agecli.inference.align import Network
from agecli.models.aligner import Aligner
from agecli.training import aligner
from agecli.training.runs import Run
from agecli.weights import read_aligner


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligner, "DRAWN", 12)
    monkeypatch.setattr("agecli.training.alignment.NO_FACES", 6)
    monkeypatch.setattr("agecli.training.alignment.SIDE", 48)


@pytest.fixture
def config(dataset_folder: Path) -> AlignerConfig:
    return AlignerConfig(data=str(dataset_folder), epochs=2, batch_size=16, limit=32, device="cpu")


class Stopped(Exception):
    pass


class StopAfter(aligner.Observer):
    def finished_epoch(self, record: dict) -> None:
        raise Stopped


def test_training_fills_a_run_and_says_how_well_it_does(config: AlignerConfig, tmp_path: Path):
    run = Run.create(tmp_path / "run", config)
    metadata = aligner.train(config, run)
    assert [record["epoch"] for record in run.history()] == [1, 2]
    assert {"val_loss", "val_angle", "val_shift95", "val_auc"} <= set(run.history()[0])
    assert metadata.metrics["n"] > 0
    assert metadata.metrics["no_faces"] == 12
    assert 0 <= metadata.metrics["auc"] <= 1
    read, tensors = read_aligner(run.best)
    assert read == metadata
    assert set(tensors) == set(Aligner().state_dict())
    assert run.best.stat().st_size < 1_000_000


def test_resuming_gives_the_same_weights_as_one_go(config: AlignerConfig, tmp_path: Path):
    whole = Run.create(tmp_path / "whole", config)
    aligner.train(config, whole)
    halves = Run.create(tmp_path / "halves", config)
    with pytest.raises(Stopped):
        aligner.train(config, halves, StopAfter())
    run, kept = Run.open(tmp_path / "halves")
    assert kept == config
    aligner.train(kept, run)
    one, two = load_file(whole.best), load_file(halves.best)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_it_learns(config: AlignerConfig, tmp_path: Path):
    config = replace(config, epochs=8, limit=0, lr=2e-3, ema=0.5)
    run = Run.create(tmp_path / "run", config)
    aligner.train(config, run)
    first, last = run.history()[0], run.history()[-1]
    assert last["train_loss"] < 0.8 * first["train_loss"]
    Network(run.best)


def test_a_data_set_without_chips_is_refused(dataset_folder: Path, tmp_path: Path):
    config = AlignerConfig(data=str(tmp_path / "none"))
    with pytest.raises(DataError, match="agecli prepare"):
        aligner.train(config, Run(tmp_path))
    with pytest.raises(UsageError, match="--epochs"):
        AlignerConfig(epochs=0)
