"""Knowledge distillation: a trained model's outputs as soft labels (Hinton et al. 2015)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agecli.ages import Scheme
from agecli.config import TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import UsageError
from agecli.models.blocks import to_channels_last
from agecli.training.devices import autocast
from agecli.training.initial import check_split, only_weights
from agecli.weights import load_weights


class Teacher(nn.Module):
    """The model of --teacher; it sees the student's augmented images, resized to its own side.

    Raises UsageError for a teacher with other age groups or another normalisation.
    """

    def __init__(self, config: TrainConfig, scheme: Scheme) -> None:
        super().__init__()
        path = only_weights("--teacher", config.teacher)
        model, metadata = load_weights(path)
        self.model = to_channels_last(model).requires_grad_(False)
        self.config, self.side = config, metadata.image_size
        if not metadata.knows_years and metadata.scheme != scheme.labels:
            raise UsageError(
                f"--teacher: {path} predicts other age groups than those of {config.data}: use "
                "a teacher with the same ones, or one that predicts years"
            )
        if [*metadata.mean, *metadata.std] != [*config.mean, *config.std]:
            raise UsageError(f"--teacher: {path} normalises images differently: choose another")

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever the student does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to distributions over years (B, YEARS) or groups (B, groups)."""
        with autocast(self.config, images.device.type):
            size = (self.side, self.side)
            seen = F.interpolate(images, size=size, mode="bilinear", antialias=True)
            return F.softmax(self.model(seen).float(), dim=1)


def check_teacher(config: TrainConfig) -> None:
    """Raise UsageError for a --teacher of another split, other age groups or other images."""
    if config.teacher:
        check_split("--teacher", only_weights("--teacher", config.teacher), config)
        Teacher(config, open_dataset(Path(config.data)).scheme)


def make_teacher(config: TrainConfig, scheme: Scheme) -> Teacher | None:
    """Load a configuration's teacher, in evaluation mode; return None if it names none."""
    return Teacher(config, scheme).eval() if config.teacher else None
