"""fastai's DataLoaders over the store's batches, the same as for every other model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from agecli.data.batches import to_augmented_input, to_input
from agecli.training.session import Session

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch's, about code that fastai compiles
    from fastai.vision.all import DataLoaders, TensorCategory, TensorImage, TfmdDL, to_detach


def make_loaders(session: Session) -> DataLoaders:
    """Build fastai's DataLoaders over a training's images, augmented on the device."""
    loaders = [StoreLoader(session, split) for split in ("train", "val")]
    return DataLoaders(*loaders, device=session.device)


class StoreLoader(TfmdDL):
    """fastai's loader over the store's batches, which threads prefetch."""

    def __init__(self, session: Session, split: str) -> None:
        self.session, self.batches, self.epoch = session, session.batches(split), 0
        self._n_inp = 1  # or fastai would run a batch to find out
        size = self.batches.batch_size
        super().__init__(self.batches.rows, bs=size, num_workers=0, device=session.device)

    def __len__(self) -> int:
        return len(self.batches)

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """Detach a batch's tensors; gather none: processes may have unequal numbers of batches."""
        return to_detach(b, cpu, gather=False)

    def create_batches(self, samps: Any) -> Iterator[tuple[Tensor, ...]]:
        """Yield (images, ages) on the device: the model's input (B, 3, S, S) and years (B, 2).

        In training, soft labels too, if there are any.
        """
        for images, rows in self.batches.epoch(self.epoch):
            # fastai would copy them, too, but would first wait for the GPU.
            images = images.to(self.device, non_blocking=True)
            ages = torch.from_numpy(self.session.dataset.ages[rows])
            ages = ages.to(self.device, non_blocking=True)
            batch = self._input(images)
            soft = self.session.soft_labels(batch, rows) if self.batches.shuffle else None
            yield TensorImage(batch), TensorCategory(ages), *([] if soft is None else [soft])

    def _input(self, images: Tensor) -> Tensor:
        """Map stored images (B, S, S, 3) to the model's input, augmented in training."""
        config = self.session.config
        look = config.image_size, config.mean, config.std
        if self.batches.shuffle:
            return to_augmented_input(images, *look, config.augment)
        return to_input(images, *look)
