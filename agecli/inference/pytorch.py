"""Models run by torch, and their device; torch is imported lazily, so that ONNX needs none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agecli import distributed
from agecli.ages import FloatArray, softmax
from agecli.config import FLIP
from agecli.errors import UsageError
from agecli.inference.model import Model
from agecli.weights import Metadata

if TYPE_CHECKING:
    from torch import nn


class LoadedModel(Model):
    """A model run by torch.

    module: maps normalised images (N, 3, S, S) to logits (N, outputs), and lies on the device. It
    is in eval mode only while predicting, so it may be a model in training.
    """

    def __init__(
        self, module: nn.Module, metadata: Metadata, path: Path | None = None, device: str = "cpu"
    ) -> None:
        super().__init__(metadata, path)
        self.module = module
        self.device = device

    def distributions(self, images: np.ndarray, flip: bool = FLIP) -> FloatArray:
        """Return (N, outputs) for uint8 crops (N, S, S, 3), as in `Model.distributions`."""
        import torch

        from agecli.data.batches import to_input

        training = self.module.training
        self.module.eval()
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            meta = self.metadata
            x = to_input(pixels, meta.image_size, meta.mean, meta.std)  # (N, 3, size, size)
            if flip:
                x = torch.cat([x, x.flip(3)])  # (2N, 3, size, size)
            logits = self.module(x)
        self.module.train(training)
        probabilities = softmax(logits.float().cpu().numpy(), self.metadata.temperature)
        return probabilities.reshape(-1, len(images), probabilities.shape[1]).mean(axis=0)


def find_device(name: str) -> str:
    """Resolve "auto" to cuda, mps or cpu. Raises UsageError for an unavailable device.

    With several processes on a machine, each takes its own GPU for cuda.
    """
    import torch

    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, here in have.items() if here)
    if not have.get(name):
        raise UsageError(f"--device: no {name} device here; use --device auto")
    if name == "cuda" and distributed.world() > 1:
        processes, count = distributed.local_world(), torch.cuda.device_count()
        if processes > count:
            raise UsageError(
                f"--device: {processes} processes for {count} GPUs: start one for each"
            )
        torch.cuda.set_device(distributed.local_rank())
    return name
