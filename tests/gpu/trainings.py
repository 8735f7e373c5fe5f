"""Toy trainings of every kind, on any device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.registry import MODELS
from agecli.training.observer import Observer
from agecli.training.runs import Run
from tests.exporting.models import write_model

KINDS = ("cnn", "capsnet", "resnet", "scratch", "taught", "unfrozen")
"""The models by their trainers; dinov2 from scratch, by a teacher, and with a block unfrozen."""


@dataclass(frozen=True)
class Toys:
    """Trainings of a few seconds on the drawn faces."""

    device: str
    dataset: Path
    backbone: Path
    folder: Path

    def config(self, kind: str, **settings: Any) -> TrainConfig:
        """Return the settings of a kind of training, with changes."""
        # So few images, changed wildly, would not be learnt in three epochs.
        common = dict(
            data=str(self.dataset), device=self.device, batch_size=16, epochs=3, ema=0.9,
            augment="light",
        )  # fmt: skip
        # Batch norm of a few images behind the last pooling: at a high rate the precisions part.
        few = dict(lr=1e-3, batch_size=32, limit=64)
        kinds: dict[str, tuple[type[TrainConfig], dict[str, Any]]] = {
            "cnn": (CnnConfig, dict(image_size=32, lr=3e-3, dropout=0.1)),
            "capsnet": (CapsNetConfig, dict(image_size=32, reconstruction=True)),
            "resnet": (ResNetConfig, dict(image_size=32, arch="resnet18", init="none", **few)),
            "scratch": (Dinov2Config, dict(image_size=24, backbone="scratch:tiny")),
            "taught": (Dinov2Config, dict(image_size=24, backbone="scratch:tiny")),
            "unfrozen": (Dinov2Config, dict(backbone=str(self.backbone), unfreeze=1)),
        }
        build, own = kinds[kind]
        if kind == "taught":
            own["teacher"] = str(self._teacher())
        config = build(**(common | own | settings))
        return _trainer(config).settle(config, announce=print, dry=False)

    def _teacher(self) -> Path:
        path = self.folder / "teacher.safetensors"
        if not path.exists():
            receipt = json.loads((self.dataset / "receipt.json").read_text())
            write_model(path, split_hash=receipt["split_hash"])
        return path


def run_training(config: TrainConfig, folder: Path, observer: Observer | None = None) -> Run:
    """Train in a new folder; the test split is not read."""
    run = Run.create(folder, config)
    _trainer(config).train(config, run, observer, score=False)
    return run


def resume(run: Run) -> None:
    """Resume a run in a process that knows only its folder."""
    run, config = Run.open(run.folder)
    _trainer(config).train(config, run, score=False)


def losses(run: Run) -> list[tuple[float, float]]:
    """Return the training and the validation loss of each epoch."""
    return [(epoch.train_loss, epoch.val.loss) for epoch in run.history()]


def _trainer(config: TrainConfig) -> Any:
    return import_module(MODELS[config.model].trainer)
