"""What a training tells of itself: its start, its steps, its epochs; free of torch."""

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
    """Its title."""
    parameters: int
    train_images: int
    val_images: int
    device: str
    """In words, with precision and processes."""
    epochs: int
    """How many there are to be."""
    done: int
    """How many of them are done already."""
    run: str
    """Its folder."""


@dataclass(frozen=True)
class Step:
    """A step of an epoch, and the epoch so far."""

    epoch: int
    """From 1."""
    step: int
    """From 1."""
    steps: int
    loss: float
    """The epoch's mean so far."""
    lr: float
    images_per_second: float
    memory: int
    """Bytes in use: at most, on CUDA."""


@dataclass(frozen=True)
class Validation:
    """What a model reached on the validation images."""

    loss: float
    exact: float | None = None
    """Share of the images, 0 to 1, that are put into their group."""
    one_off: float | None = None
    macro_f1: float | None = None
    mae: float | None = None
    """Mean error of age in years, where the model tells one."""

    def to_plain(self) -> dict[str, float]:
        """Return what is known, as metrics.jsonl names it: val_loss, val_exact, ..."""
        return {f"val_{name}": value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Validation:
        """Read what `to_plain` wrote, from among other values. Raises ValueError for others."""
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
    """No epoch before had so low a validation loss."""
    val: Validation
    phase: Literal["head", "all"] | None = None
    """What of a resnet was trained."""
    weight_decay: float | None = None
    """Of the best of several heads, as is `lr`."""

    def to_plain(self) -> dict[str, Any]:
        """Return the values that metrics.jsonl and a run's state keep."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "val"}
        return {k: v for k, v in own.items() if v is not None} | self.val.to_plain()

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Epoch:
        """Read what `to_plain` wrote, in this version or an earlier one.

        Raises ValueError for anything else.
        """
        val = Validation.from_plain(values)
        return convert({f.name: values.get(f.name) for f in fields(cls)} | {"val": val}, cls)


def is_best(history: Sequence[Epoch], loss: float) -> bool:
    """Return whether a validation loss is lower than that of all epochs so far."""
    return bool(loss < min((epoch.val.loss for epoch in history), default=inf))


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Return whether all epochs are done, or validation has not improved for `patience`, if any."""
    since_best = next((i for i, epoch in enumerate(reversed(history)) if epoch.best), 0)
    return len(history) >= epochs or since_best >= (patience or epochs)
