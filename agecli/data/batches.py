"""From the store to the model: batches gathered ahead; resized, augmented on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

AHEAD = 2
"""Batches gathered ahead per thread."""

ROTATION, SCALE, SHIFT = 15.0, 1.15, 0.06
"""Augmentation: largest angle in degrees, scale factor, and shift in image sides."""

LIGHT, ERASED, ERASED_AREA = 0.4, 0.5, (0.02, 0.2)
"""Strong augmentation: largest change of brightness, contrast and saturation, share of images
with an erased rectangle, and its least and largest area."""


class Batches:
    """Batches of a store's rows: in order for evaluation, shuffled by seed and epoch for training.

    Shuffled batches are all of `batch_size` (the rest of an epoch is left out), and their number
    is a multiple of `accumulate`. Of several processes, each takes its own share of every batch.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        rows: NDArray[np.integer],
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        accumulate: int = 1,
        workers: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.images = np.asarray(images)  # a plain view: memmap's own indexing is slower
        self.rows, self.shuffle, self.seed, self.workers = rows, shuffle, seed, workers
        self.rank, self.world = rank, world
        self.batch_size = min(batch_size, max(1, len(rows) // world)) if shuffle else batch_size
        whole = self.batch_size * world
        self.steps = len(rows) // whole if shuffle else -(-len(rows) // whole)
        if shuffle:
            self.steps = max(self.steps // accumulate, 1) * accumulate

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int = 0) -> Iterator[tuple[Tensor, NDArray[np.integer]]]:
        """Yield (images, rows): uint8 (B, S, S, 3) in host memory, and their rows in the store."""
        with ThreadPoolExecutor(self.workers) as threads:
            flying: deque[Future[tuple[Tensor, NDArray[np.integer]]]] = deque()
            for rows in self.plan(epoch):
                flying.append(threads.submit(self._gather, rows))
                if len(flying) > AHEAD * self.workers:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()

    def plan(self, epoch: int = 0) -> Iterator[NDArray[np.integer]]:
        """Yield the rows of an epoch's batches."""
        order = self.rows
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)
            order = np.resize(order, self.steps * self.batch_size * self.world)
        whole = self.batch_size * self.world
        for start in range(0, len(order), whole):
            share = order[start : start + whole][self.rank :: self.world]
            if len(share):  # the last one may be too small for every process
                yield np.sort(share)

    def _gather(self, rows: NDArray[np.integer]) -> tuple[Tensor, NDArray[np.integer]]:
        return torch.from_numpy(np.take(self.images, rows, axis=0)), rows


def to_input(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Resize and normalise stored images to what a model takes; the same for training and use.

    images: uint8 (B, S, S, 3) on the model's device. Returns float (B, 3, size, size) in
    channels-last memory. Resizing is bilinear with antialiasing, as PIL's is.
    """
    return normalise(resize(images, size), mean, std)


def to_augmented_input(
    images: Tensor,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    generator: torch.Generator,
    *,
    strong: bool = False,
) -> Tensor:
    """Do as `to_input`, and augment at random between resizing and normalising.

    strong: change the colours and erase a part, too.
    """
    batch = augment(resize(images, size), generator)
    if strong:
        batch = erase(recolour(batch, generator), generator)
    return normalise(batch, mean, std)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize uint8 images (B, S, S, 3) to float (B, 3, size, size), values 0 to 255."""
    batch = images.permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
    if batch.shape[-1] != size:
        if batch.device.type != "cpu":  # only the CPU resizes bytes
            batch = batch.float()
        batch = F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return batch.float()


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the deviation (of values 0 to 1), in place."""
    shape = (1, 3, 1, 1)
    centre = torch.tensor(mean, device=batch.device).view(shape) * 255
    spread = torch.tensor(std, device=batch.device).view(shape) * 255
    return batch.sub_(centre).div_(spread)


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shift and mirror a batch (B, 3, S, S) at random, each image its own way."""
    count = len(batch)

    def uniform() -> Tensor:  # (B,), from -1 to 1
        return torch.rand(count, generator=generator, device=batch.device) * 2 - 1

    angle = uniform() * (ROTATION * torch.pi / 180)
    scale = torch.exp(uniform() * float(np.log(SCALE)))
    mirror = torch.where(uniform() < 0, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    affine = torch.stack(
        [
            torch.stack([cos * mirror, -sin, uniform() * 2 * SHIFT], dim=1),
            torch.stack([sin * mirror, cos, uniform() * 2 * SHIFT], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3)
    grid = F.affine_grid(affine, list(batch.shape), align_corners=False)  # (B, S, S, 2)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def recolour(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of a batch (B, 3, S, S), values 0 to 255."""
    shape = (3, len(batch), 1, 1, 1)
    change = 1 + LIGHT * (torch.rand(shape, generator=generator, device=batch.device) * 2 - 1)
    brightness, contrast, saturation = change
    batch = batch * brightness
    mean = batch.mean(dim=(1, 2, 3), keepdim=True)
    batch = torch.lerp(mean, batch, contrast)
    grey = batch.mean(dim=1, keepdim=True)
    return torch.lerp(grey, batch, saturation).clamp_(0, 255)


def erase(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a rectangle in some images of a batch (B, 3, S, S) with noise (Zhong et al. 2020)."""
    count, side = len(batch), batch.shape[-1]

    def uniform(low: float, high: float) -> Tensor:  # (B, 1)
        draw = torch.rand((count, 1), generator=generator, device=batch.device)
        return low + (high - low) * draw

    chosen = uniform(0, 1) < ERASED
    area, stretch = uniform(*ERASED_AREA), torch.exp(uniform(-0.7, 0.7))
    place = torch.arange(side, device=batch.device) / side  # (S,)

    def inside(extent: Tensor) -> Tensor:  # (B, S)
        start = uniform(0, 1) * (1 - extent)
        return (place >= start) & (place < start + extent)

    rows, columns = inside((area * stretch).sqrt()), inside((area / stretch).sqrt())
    mask = (chosen & rows)[:, None, :, None] & columns[:, None, None, :]  # (B, 1, S, S)
    noise = torch.rand(batch.shape, generator=generator, device=batch.device) * 255
    return torch.where(mask, noise, batch)
