"""Shared by the stages: the models measured, how they are trained, and rates."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from agecli.ages import Scheme
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.registry import MODELS
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.weights import Metadata

SCHEME = Scheme.parse("adience8")

MODES = {
    "plain": {},
    "amp": {"amp": True},
    "checkpoint": {"grad_checkpoint": True},
    "both": {"amp": True, "grad_checkpoint": True},
}


class Rows:
    """The rows of a stage, written after each one: a time limit costs only the rest."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, []

    def add(self, **row: Any) -> None:
        """Record and print a row."""
        self.rows.append(row)
        self.path.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        print(self.path.stem, json.dumps(row), flush=True)


def configurations(data: Path, device: str, *, quick: bool) -> Iterator[tuple[str, TrainConfig]]:
    """Yield the models whose memory is measured, 224 px and batches of 32; quick: tiny."""
    place: dict[str, Any] = {"data": str(data), "device": device, "epochs": 1}
    look = {"image_size": 32, "batch_size": 4} if quick else {"image_size": 224, "batch_size": 32}
    yield "cnn", CnnConfig(**place, **look)
    yield "capsnet", CapsNetConfig(**place, **look)
    yield "capsnet, classic", CapsNetConfig(**place, **look, stem="classic")
    arch = "resnet18" if quick else "resnet34"
    yield "resnet", ResNetConfig(**place, **look, arch=arch, init="none")
    backbone = settled(Dinov2Config(backbone=str(save_backbone(quick=quick)), **place, **look))
    yield "dinov2, frozen", backbone
    yield "dinov2, all blocks", replace(backbone, unfreeze=2 if quick else 12)


def save_backbone(*, quick: bool) -> Path:
    """Save a DINOv2 of the small one's shape, or a tiny one, at random; return its folder."""
    from transformers import Dinov2Config as Shape
    from transformers import Dinov2Model

    folder = Path(tempfile.gettempdir(), f"agecli-bench-{'tiny' if quick else 'small'}")
    if not folder.exists():
        small = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
        tiny = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
        shape = Shape(**(tiny if quick else small), patch_size=14, image_size=28 if quick else 224)
        Dinov2Model(shape).save_pretrained(folder)
    return folder


def settled(config: TrainConfig) -> TrainConfig:
    """Return a configuration as the command would train it."""
    if isinstance(config, Dinov2Config) and config.image_size % 14 and not config.from_scratch:
        config = replace(config, image_size=28)
    return import_module(MODELS[config.model].trainer).settle(config, announce=print, dry=False)


def train(
    config: TrainConfig, folder: Path, observer: Observer | None = None
) -> tuple[Run, Metadata]:
    """Train as the command does, but read no test split; return the run and what it was."""
    run = Run.create(folder, config)
    trainer = import_module(MODELS[config.model].trainer)
    return run, trainer.train(config, run, observer, score=False)


def synchronise(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def rate(step: Any, images: int, steps: int, device: str, *, warm: int = 5) -> float:
    """Return the images per second of a step on `images` of them."""
    for _ in range(warm):
        step()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(device)
    return images * steps / (time.perf_counter() - started)
