"""From the store to the model: batches are prefetched, resized and augmented."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agecli.config import Augment
from agecli.data.augment import augment
from agecli.data.store import Images

AHEAD = 2
"""Batches prefetched per thread."""


class Batches:
    """Batches of a store's rows: in order for evaluation, shuffled by seed and epoch for training.

    Shuffled batches all have `batch_size` images (the rest of an epoch is left out); their number
    is a multiple of `accumulate`. With several processes, each takes its share of every batch.
    draw: the order of an epoch's rows, by default each once.
    pinned: the images lie in pinned memory, from which a GPU copies asynchronously.
    """

    def __init__(
        self,
        images: Images | NDArray[np.uint8],
        rows: NDArray[np.integer],
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        accumulate: int = 1,
        threads: int = 1,
        rank: int = 0,
        world: int = 1,
        pinned: bool = False,
        draw: Callable[[np.random.Generator], NDArray[np.integer]] | None = None,
    ) -> None:
        self.images = images
        self.draw = draw or (lambda random: random.permutation(rows))
        self.rows, self.shuffle, self.seed, self.threads = rows, shuffle, seed, threads
        self.rank, self.world, self.pinned = rank, world, pinned
        self.batch_size = min(batch_size, max(1, len(rows) // world)) if shuffle else batch_size
        whole = self.batch_size * world
        self.steps = len(rows) // whole if shuffle else -(-len(rows) // whole)
        if shuffle:
            self.steps = max(self.steps // accumulate, 1) * accumulate

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int = 0) -> Iterator[tuple[Tensor, NDArray[np.integer]]]:
        """Yield (images, rows): uint8 (B, S, S, 3) in host memory, and their rows in the store."""
        with ThreadPoolExecutor(self.threads) as pool:
            flying: deque[Future[tuple[Tensor, NDArray[np.integer]]]] = deque()
            for rows in self.plan(epoch):
                flying.append(pool.submit(self._gather, rows))
                if len(flying) > AHEAD * self.threads:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()

    def plan(self, epoch: int = 0) -> Iterator[NDArray[np.integer]]:
        """Yield the rows (B,) of each of an epoch's batches, sorted."""
        order = self.rows
        if self.shuffle:
            order = self.draw(np.random.default_rng((self.seed, epoch)))
            order = np.resize(order, self.steps * self.batch_size * self.world)
        whole = self.batch_size * self.world
        for start in range(0, len(order), whole):
            share = order[start : start + whole][self.rank :: self.world]
            if len(share):  # the last batch may be too small for every process
                yield np.sort(share)

    def _gather(self, rows: NDArray[np.integer]) -> tuple[Tensor, NDArray[np.integer]]:
        shape = (len(rows), *self.images.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)
        # mode="clip", since the other modes copy the whole batch once more.
        np.take(self.images, rows, axis=0, out=batch.numpy(), mode="clip")
        return batch, rows


def to_input(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Resize and normalise stored images to a model's input; the same in training and prediction.

    images: uint8 (B, S, S, 3) on the model's device. Returns float (B, 3, size, size) in
    channels-last memory. Resizing is bilinear with antialiasing, like PIL's.
    """
    return normalise(resize(images, size), mean, std)


def to_augmented_input(
    images: Tensor,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    kind: Augment,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Do the same as `to_input`, with augmentation between resizing and normalising."""
    return normalise(augment(resize(images, size), kind, generator), mean, std)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize uint8 images (B, S, S, 3) to float (B, 3, size, size), values 0 to 255."""
    batch = images.permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
    if batch.shape[-1] != size:
        if batch.device.type != "cpu":  # only the CPU can resize bytes
            batch = batch.float()
        batch = F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return batch.float()


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the deviation of a batch (B, 3, S, S), in place.

    batch: values 0 to 255; mean, std: 3 each, of values 0 to 1.
    """
    # Non-blocking copies: otherwise the GPU's queue would run empty for each of them.
    centre, spread = (
        (torch.tensor(values).view(1, 3, 1, 1) * 255).to(batch.device, non_blocking=True)
        for values in (mean, std)
    )
    return batch.sub_(centre).div_(spread)
