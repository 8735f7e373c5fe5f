"""Training on the CPU: what real data, the loader and the plain step cost, as ratios of one run.

1. A step with real data (loader, resize, augmentation) against the same step on one resident
   batch: >= 0.97 of its rate (cnn, 224 px).
2. The loader's CPU time per image, up to the tensor handed to the device, against torchvision's
   ImageFolder + Resize(224), RandomAffine, ToTensor, Normalize: <= 1/8.
3. The step (channels last, fused AdamW, memory kept) against the plain one (contiguous NCHW,
   unfused Adam, memory given back): >= 1.3 times its rate.
4. The capsnet's step against the cnn's, both the trainer's way: at most 2.5 times its time.

usage: python tests/benchmarks/bench_train.py DATA FOLDER_OF_CHIPS [IMAGE_SIZE]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from agecli.ages import YEARS, Scheme
from agecli.config import CONFIGS, IMAGENET_MEAN, IMAGENET_STD
from agecli.data.batches import Batches, to_augmented_input
from agecli.data.store import Dataset, open_dataset
from agecli.memory import keep_freed_memory
from agecli.models.cnn import CNN
from agecli.training.build import build_model, build_optimizer
from agecli.training.objectives import make_objective

BATCH, ROUNDS, STEPS = 32, 5, 4


class Stepper:
    """A model and its optimiser, the way the trainer sets them up, or the plain way."""

    def __init__(self, size: int, kind: str = "cnn") -> None:
        self.size = size
        scheme = Scheme.parse("adience8")
        config = CONFIGS["capsnet" if kind == "capsnet" else "cnn"](image_size=size)
        if kind == "plain":
            self.model: nn.Module = CNN(outputs=YEARS, image_size=size).train()
            self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, foreach=False)
        else:
            self.model = build_model(config, scheme)
            self.optimizer = build_optimizer(config, self.model)
        self.objective = make_objective(config, scheme, np.arange(YEARS))
        self.generator = np.random.default_rng(0)

    def train(self, batch: Tensor, ages: Tensor) -> None:
        """Run one optimiser step on a resident batch."""
        self.objective.training_loss(self.model, batch, ages).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def prepare(self, images: Tensor) -> Tensor:
        """Resize, augment and normalise a batch as the trainer does."""
        look = self.size, IMAGENET_MEAN, IMAGENET_STD
        return to_augmented_input(images, *look, "light", self.generator)


def rate(step: Callable[[], object]) -> float:
    """Return the images per second of a few steps."""
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return BATCH * STEPS / (time.perf_counter() - started)


def endless(batches: Batches) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def compare(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the median rates of two steps, measured in turns."""
    first(), second()
    pairs = [(rate(first), rate(second)) for _ in range(ROUNDS)]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def real_data(dataset: Dataset, size: int) -> None:
    """Compare a step on real data with one on a resident batch."""
    stepper = Stepper(size)
    batches = endless(
        Batches(dataset.images, dataset.rows("train"), batch_size=BATCH, shuffle=True)
    )
    images, rows = next(batches)
    resident, ages = stepper.prepare(images), torch.from_numpy(dataset.ages[rows])

    def real() -> None:
        images, rows = next(batches)
        stepper.train(stepper.prepare(images), torch.from_numpy(dataset.ages[rows]))

    def same_step() -> None:
        stepper.train(stepper.prepare(images), ages)

    def bare() -> None:
        stepper.train(resident, ages)

    a, b = compare(real, bare)
    print(f"real data {a:.1f}, resident ready-made batch {b:.1f} images/s: {a / b:.3f}")
    a, b = compare(real, same_step)
    print(f"real data {a:.1f}, resident raw batch, augmented {b:.1f} images/s: {a / b:.3f}")


def loader(dataset: Dataset, folder: Path, size: int) -> None:
    """Compare the loaders' CPU seconds per image, of all threads."""
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    count = 1024
    batches = Batches(dataset.images, dataset.rows("train")[:count], batch_size=BATCH, shuffle=True)
    started = time.process_time()
    ours = sum(len(images) for images, _ in batches.epoch(0))
    ours_each = (time.process_time() - started) / ours
    steps = [
        transforms.Resize((size, size)),
        transforms.RandomAffine(15, translate=(0.06, 0.06), scale=(0.87, 1.15)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    pictures = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    started = time.process_time()
    for index in range(count):
        pictures[index % len(pictures)]
    theirs_each = (time.process_time() - started) / count
    print(
        f"loader {ours_each * 1e6:.0f} µs, ImageFolder {theirs_each * 1e6:.0f} µs of CPU an image: "
        f"1/{theirs_each / ours_each:.0f}"
    )


def one_step_rate(kind: str, size: int) -> float:
    """Return the rate of steps on one resident batch; run in a process of its own."""
    if kind != "plain":
        keep_freed_memory()
    stepper = Stepper(size, kind)
    batch, ages = torch.randn(BATCH, 3, size, size), torch.full((BATCH,), 30)
    if kind != "plain":
        batch = batch.contiguous(memory_format=torch.channels_last)
    stepper.train(batch, ages)
    return median(rate(lambda: stepper.train(batch, ages)) for _ in range(ROUNDS))


def step(size: int) -> None:
    """Compare the step with the plain one, and with the capsnet's, each in its own process."""
    rates = {}
    for kind in ("plain", "cnn", "capsnet"):
        command = [sys.executable, __file__, "--step", kind, str(size)]
        rates[kind] = float(subprocess.run(command, capture_output=True, check=True).stdout)
    print(
        f"step {rates['cnn']:.1f}, plain step {rates['plain']:.1f} images/s: "
        f"{rates['cnn'] / rates['plain']:.2f}"
    )
    print(
        f"capsnet step {rates['capsnet']:.1f} images/s: "
        f"{rates['cnn'] / rates['capsnet']:.2f} times the cnn's time"
    )


def main(data: str, folder: str, size: str = "224") -> None:
    """Print the ratios."""
    dataset = open_dataset(Path(data))
    keep_freed_memory()
    real_data(dataset, int(size))
    step(int(size))
    loader(dataset, Path(folder), int(size))


if __name__ == "__main__":
    if sys.argv[1] == "--step":
        print(one_step_rate(sys.argv[2], int(sys.argv[3])))
    else:
        main(*sys.argv[1:])
