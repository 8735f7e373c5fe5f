"""Stage 3: a step fed from the store against the same step on a resident batch and a plain loop."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu.common import SCHEME, Rows, rate, synchronise, train
from PIL import Image
from torch import Tensor

from agecli.ages import YEARS
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.data.batches import Batches, to_augmented_input
from agecli.data.store import open_dataset
from agecli.models.cnn import CNN
from agecli.models.dinov2 import Dinov2
from agecli.training.build import build_model, build_optimizer
from agecli.training.devices import autocast
from agecli.training.loop import MovingAverage
from agecli.training.objectives import make_objective


class Stepper:
    """A model, its optimiser and its average, as the trainer has them."""

    def __init__(self, config: TrainConfig, device: str, *, compiled: bool = False) -> None:
        self.config, self.device = config, device
        self.bare = build_model(config, SCHEME).to(device)
        if isinstance(self.bare, Dinov2):
            self.bare.attend(device)
        self.model: Any = torch.compile(self.bare) if compiled else self.bare
        self.optimizer = build_optimizer(config, self.bare)
        self.objective = make_objective(config, SCHEME, np.arange(YEARS)).to(device)
        self.average = MovingAverage(self.bare, config.ema)
        self.generator = np.random.default_rng(0)

    def train(self, batch: Tensor, ages: Tensor) -> None:
        """Run one optimiser step on a resident batch."""

        def model(*inputs: Any) -> Any:
            with autocast(self.config, self.device):
                return self.model(*inputs)

        self.objective.training_loss(model, batch, ages).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(self.bare)

    def prepare(self, images: Tensor) -> Tensor:
        """Resize, augment and normalise a batch as the trainer does."""
        config = self.config
        return to_augmented_input(
            images.to(self.device, non_blocking=True), config.image_size, config.mean, config.std,
            config.augment, self.generator,
        )  # fmt: skip

    def ages(self, ages: np.ndarray) -> Tensor:
        """Copy ages to the device."""
        return torch.from_numpy(ages).to(self.device, non_blocking=True)


def trials(data: Path, device: str, *, quick: bool) -> Iterator[tuple[str, TrainConfig]]:
    """Yield what is timed: each model at its default size, and the cnn as the release trains it."""
    place: dict[str, Any] = {"data": str(data), "device": device, "amp": True, "workers": 2}
    side, batch = (32, 8) if quick else (224, 64)
    look = {"image_size": side, "batch_size": batch}
    yield "cnn", CnnConfig(**place, **look)
    yield "cnn, 32 a batch", CnnConfig(**place, **(look | {"batch_size": batch // 2}))
    large = {"image_size": 32 if quick else 160, "batch_size": 16 if quick else 256}
    yield "cnn, wild, large batches", CnnConfig(**place, **large, augment="wild")
    yield "capsnet", CapsNetConfig(**place, **look)
    yield (
        "resnet",
        ResNetConfig(**place, **look, init="none", arch="resnet18" if quick else "resnet34"),
    )
    side = 36 if quick else 120
    yield (
        "dinov2",
        Dinov2Config(
            **place, image_size=side, batch_size=batch, backbone="scratch:tiny", augment="light"
        ),
    )


def run(data: Path, out: Path, device: str, *, quick: bool) -> None:
    """Write a row per trial."""
    rows = Rows(out / "speed.json")
    steps = 3 if quick else 60
    for name, config in trials(data, device, quick=quick):
        row, ready = measure(config, device, steps)
        row["trainer"] = trainer_rate(config, steps)
        if name == "cnn":
            row |= plain_loop(config, device, quick=quick)
            to_compile = config, ready
        rows.add(trial=name, **row)
    if device == "cuda":  # last, since compiling takes what a limit may not leave
        config, ready = to_compile
        rows.add(trial="cnn, compiled", resident=compiled_rate(config, device, *ready, steps))


def measure(
    config: TrainConfig, device: str, steps: int
) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
    """Return the rates of a step by where its batch comes from, and a batch that is ready."""
    dataset, size = open_dataset(Path(config.data)), config.batch_size
    stepper = Stepper(config, device)
    chosen = dataset.rows("train")
    chosen = chosen[stepper.objective.uses(dataset.ages[chosen])]
    batches = endless(
        Batches(
            dataset.images, chosen, batch_size=size, shuffle=True, threads=config.workers,
            pinned=device == "cuda",
        )
    )  # fmt: skip
    images, rows = next(batches)
    raw, ages = images.to(device), stepper.ages(dataset.ages[rows])
    ready = stepper.prepare(raw)

    def augmented() -> None:
        stepper.train(stepper.prepare(raw), ages)

    def from_store() -> None:
        images, rows = next(batches)
        stepper.train(stepper.prepare(images), stepper.ages(dataset.ages[rows]))

    row = {
        "image_size": config.image_size, "batch_size": size,
        "resident": rate(lambda: stepper.train(ready, ages), size, steps, device),
        "resident_augmented": rate(augmented, size, steps, device),
        "store": rate(from_store, size, steps, device),
    }  # fmt: skip
    return row | {"ratio": row["store"] / row["resident"]}, (ready, ages)


def endless(batches: Batches) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def trainer_rate(config: TrainConfig, steps: int) -> float:
    """Return the images per second of a real training's second epoch."""
    config = replace(config, limit=steps * config.batch_size, epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        return train(config, Path(folder, "run"))[0].history()[-1].images_per_second


def compiled_rate(
    config: TrainConfig, device: str, ready: Tensor, ages: Tensor, steps: int
) -> float | str:
    """Return the rate of the step with torch.compile, or why there is none."""
    try:
        stepper = Stepper(config, device, compiled=True)
        return rate(lambda: stepper.train(ready, ages), config.batch_size, steps, device)
    except Exception as error:  # whatever a compiler that is not there says
        return type(error).__name__


def plain_loop(config: TrainConfig, device: str, *, quick: bool) -> dict[str, Any]:
    """Return the rate of the loop one would write: ImageFolder, DataLoader, autocast, Adam."""
    from torchvision import datasets, transforms

    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(config, Path(folder), 64 if quick else 6000, cores)
        steps = [
            transforms.Resize((config.image_size, config.image_size)),
            transforms.RandomAffine(15, translate=(0.06, 0.06), scale=(0.87, 1.15)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(config.mean, config.std),
        ]
        loader = torch.utils.data.DataLoader(
            datasets.ImageFolder(folder, transforms.Compose(steps)), config.batch_size,
            shuffle=True, num_workers=2 if quick else cores, pin_memory=device == "cuda",
            drop_last=True, persistent_workers=True,
        )  # fmt: skip
        model = CNN(outputs=8, image_size=config.image_size).to(device).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        rates = []
        for _ in range(2):  # the first starts the workers
            started, seen = time.perf_counter(), 0
            for images, labels in loader:
                images, labels = images.to(device), labels.to(device)
                optimizer.zero_grad()
                with torch.autocast(device, torch.bfloat16):
                    loss = torch.nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                seen += len(images)
            synchronise(device)
            rates.append(seen / (time.perf_counter() - started))
    return {"plain": rates[1], "plain_workers": cores}


def write_pictures(config: TrainConfig, folder: Path, count: int, cores: int) -> None:
    """Write images of the store as JPEG files, in a folder per group."""
    dataset = open_dataset(Path(config.data))
    chosen = dataset.rows("train")[:count]
    groups = SCHEME.nearest_groups(dataset.ages[chosen])
    for group in np.unique(groups):
        (folder / str(group)).mkdir()
    images = dataset.images

    def write(row: int, group: int) -> None:
        Image.fromarray(images[row]).save(folder / str(group) / f"{row}.jpg", quality=90)

    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(write, chosen, groups))
