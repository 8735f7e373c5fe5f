"""Weights that a training begins with or learns from, and what it must know of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from agecli.config import TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import UsageError, WeightsError
from agecli.registry import MODELS
from agecli.weights import named_weights, read_metadata


def own_weights(name: str) -> Path | None:
    """Find the weights that a released model's name, a run or a file of ours stands for.

    None for anything else. Raises WeightsError for a folder that holds none.
    """
    if name in ("none", "imagenet"):
        return None
    if name in MODELS or Path(name).is_dir():
        return named_weights(name)[0]
    with suppress(WeightsError):
        read_metadata(Path(name))
        return Path(name)
    return None


def check_split(option: str, path: Path, config: TrainConfig) -> None:
    """Refuse weights that may have seen images by which a training is judged."""
    split_hash = open_dataset(Path(config.data)).receipt["split_hash"]
    if read_metadata(path).split_hash != split_hash:
        raise UsageError(
            f"{option}: {path} was trained on another split than that of {config.data}: it may "
            "have seen images that this training is judged by; give weights of the same split"
        )


def training_of(name: str) -> dict[str, Any] | None:
    """Read how weights were trained; None for those of another make or that are gone."""
    with suppress(WeightsError):
        if path := own_weights(name):
            return read_metadata(path).training
    return None
