"""Records of a training: its start, its steps, its epochs; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import inf, isfinite
from typing import Any, Literal

from agecli.reading import convert


@dataclass(frozen=True)
class Started:
    """A training that is about to start."""

    model: str
    """The model's title."""
    parameters: int
    train_images: int
    val_images: int
    device: str
    """The device in words, with precision and processes."""
    epochs: int
    """Epochs in all."""
    done: int
    """Epochs already done."""
    run: str
    """The run's folder."""


@dataclass(frozen=True)
class Step:
    """A step of an epoch, and the epoch so far."""

    epoch: int
    """From 1."""
    step: int
    """From 1."""
    steps: int
    loss: float
    """The epoch's mean loss so far."""
    lr: float
    images_per_second: float
    memory: int
    """Bytes in use; on CUDA, the peak."""


@dataclass(frozen=True)
class Validation:
    """A model's scores on the validation images."""

    loss: float
    exact: float | None = None
    """Share of the images, 0 to 1, whose group is predicted exactly."""
    one_off: float | None = None
    macro_f1: float | None = None
    mae: float | None = None
    """Mean absolute error of age in years, if the model predicts it."""

    def to_plain(self) -> dict[str, float]:
        """Return the known scores under their names in metrics.jsonl: val_loss, val_exact, ..."""
        return {f"val_{name}": value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Validation:
        """Return the scores among what `to_plain` wrote. Raises ValueError if invalid."""
        read = convert({f.name: values.get(f"val_{f.name}") for f in fields(cls)}, cls)
        if not isfinite(read.loss):
            raise ValueError(f"val_loss is {read.loss}")
        return read


@dataclass(frozen=True)
class Epoch:
    """An epoch of a training: a line of metrics.jsonl."""

    epoch: int
    """From 1."""
    train_loss: float
    lr: float
    images_per_second: float
    seconds: float
    best: bool
    """Whether its validation loss is the lowest so far."""
    val: Validation
    phase: Literal["head", "all"] | None = None
    """The part of a resnet that was trained."""
    weight_decay: float | None = None
    """The best head's weight decay, if there are several; so is `lr`."""

    def to_plain(self) -> dict[str, Any]:
        """Return the values stored in metrics.jsonl and in a run's state."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "val"}
        return {k: v for k, v in own.items() if v is not None} | self.val.to_plain()

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Epoch:
        """Return the epoch that `to_plain` wrote, in this version or an earlier one.

        Raises ValueError for anything else.
        """
        val = Validation.from_plain(values)
        return convert({f.name: values.get(f.name) for f in fields(cls)} | {"val": val}, cls)


def is_best(history: Sequence[Epoch], loss: float) -> bool:
    """Return whether a validation loss is lower than that of all epochs so far."""
    return bool(loss < min((epoch.val.loss for epoch in history), default=inf))


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Return whether all epochs are done, or validation has not improved for `patience` epochs."""
    since_best = next((i for i, epoch in enumerate(reversed(history)) if epoch.best), 0)
    return len(history) >= epochs or since_best >= (patience or epochs)
