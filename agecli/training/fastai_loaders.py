"""fastai's DataLoaders over the store's batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from agecli import distributed
from agecli.ages import IntArray
from agecli.config import Augment, ResNetConfig
from agecli.data.augment import augment
from agecli.data.batches import Batches, resize
from agecli.data.store import Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch's, of what fastai compiles
    from fastai.vision.all import (
        DataLoaders,
        Normalize,
        TensorCategory,
        TensorImage,
        TfmdDL,
        Transform,
        to_detach,
    )


def make_loaders(
    config: ResNetConfig, dataset: Dataset, rows: dict[str, IntArray], device: torch.device
) -> DataLoaders:
    """Build fastai's DataLoaders over the store; images are augmented in batches on the device."""
    normalise = Normalize.from_stats(config.mean, config.std, cuda=device.type == "cuda")
    loaders = []
    for split, shuffle in (("train", True), ("val", False)):
        transforms = [FromStore(config.image_size), Augmented(config.augment), normalise]
        batches = Batches(
            dataset.images, rows[split], batch_size=config.batch_size, shuffle=shuffle,
            seed=config.seed, accumulate=config.accumulate if shuffle else 1,
            workers=config.workers, rank=distributed.rank(), world=distributed.world(),
            pinned=device.type == "cuda",
        )  # fmt: skip
        loaders.append(StoreLoader(batches, dataset.ages, transforms, device))
    return DataLoaders(*loaders, device=device)


class StoreLoader(TfmdDL):
    """fastai's loader over the store's batches, which threads gather ahead."""

    def __init__(
        self, batches: Batches, ages: IntArray, transforms: list[Transform], device: torch.device
    ) -> None:
        self.batches, self.ages, self.epoch = batches, ages, 0
        self._n_inp = 1  # or fastai would run a batch to find out
        super().__init__(
            batches.rows, bs=batches.batch_size, after_batch=transforms, num_workers=0,
            device=device,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.batches)

    def before_iter(self) -> None:
        """Say which split this is, which fastai asks a dataset: only split 0 is augmented."""
        super().before_iter()
        self.after_batch.split_idx = 0 if self.batches.shuffle else 1

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """Detach a batch's tensors, and gather none: processes need not have as many batches."""
        return to_detach(b, cpu, gather=False)

    def create_batches(self, samps: Any) -> Iterator[tuple[TensorImage, TensorCategory]]:
        """Yield (images, ages) on the device: uint8 (B, 3, S, S) and years (B,)."""
        for images, rows in self.batches.epoch(self.epoch):
            # fastai would copy them, too, but wait for the GPU to be through with all before.
            images, ages = (
                tensor.to(self.device, non_blocking=True)
                for tensor in (images, torch.from_numpy(self.ages[rows]))
            )
            yield TensorImage(images.permute(0, 3, 1, 2)), TensorCategory(ages)


class FromStore(Transform):
    """Resize stored images exactly as for every other model, and scale them to 0 to 1."""

    order = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def encodes(self, batch: TensorImage) -> TensorImage:
        """Map uint8 (B, 3, S, S) to float (B, 3, size, size)."""
        images = batch.as_subclass(Tensor).permute(0, 2, 3, 1)  # (B, S, S, 3), as stored
        return TensorImage(resize(images, self.size).div_(255))


class Augmented(Transform):
    """Augment training images as for every other model."""

    order, split_idx = 1, 0

    def __init__(self, kind: Augment) -> None:
        super().__init__()
        self.kind = kind

    def encodes(self, batch: TensorImage) -> TensorImage:
        """Change a batch (B, 3, S, S), values 0 to 1."""
        return TensorImage(augment(batch.as_subclass(Tensor) * 255, self.kind).div_(255))
