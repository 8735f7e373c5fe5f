"""The check that every export has to pass: against the original, on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from agecli.ages import FloatArray
from agecli.config import Precision
from agecli.data.images import square
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError, WeightsError
from agecli.inference.model import Model

LIMITS: dict[Precision, tuple[float, float, str]] = {
    "fp32": (1e-4, 0.999, "use --to safetensors, and please report it"),
    "fp16": (5e-3, 0.999, "use --dtype fp32"),
    "int8": (1.0, 0.98, "leave out --int8"),
}
"""Largest allowed difference of a probability, smallest share of images with the same top group,
and what to do if they are exceeded."""

HELD = 512
"""Most images that an export is checked on."""
CALIBRATION = 128
"""Most images that set the ranges of 8-bit activations."""
DRAWN = 128
"""Synthetic images that are drawn without a data set."""
BATCH = 64

Exported = Callable[[np.ndarray], FloatArray]
"""Maps uint8 (N, S, S, 3) to the groups' probabilities (N, groups)."""


@dataclass(frozen=True)
class Parity:
    """How an export's outputs differ from the original's."""

    images: str
    """The images checked, in words."""
    difference: float
    """The largest difference of a group's probability."""
    same: float
    """The share of images with the same top group."""

    def __str__(self) -> str:
        return (
            f"on {self.images}, probabilities differ by at most {self.difference:.1e}, "
            f"{self.same:.1%} have the same top group"
        )


@dataclass(frozen=True)
class Held:
    """Images of a model's own side that it was not trained on."""

    images: np.ndarray
    """uint8 (N, size, size, 3)"""
    words: str
    """The images in words."""


def held_images(size: int, data: Path | None) -> Held:
    """Return evenly spaced validation images of a data set, or synthetic ones without it.

    Raises DataError if there is no such data set, or it has no validation images.
    """
    if data is None:
        return Held(_draw(size), f"{DRAWN} synthetic images")
    dataset = open_dataset(data)
    rows = dataset.rows("val")
    rows = _spread(np.setdiff1d(rows, _calibrating(rows)), HELD)
    if not len(rows):
        raise DataError(f"The val split of {data} has no images: choose another --data")
    return Held(_load(dataset, rows, size), f"{len(rows):,} validation images of {data.name}")


def calibration_images(size: int, data: Path | None) -> np.ndarray:
    """Return validation images (N, size, size, 3) that are not among the held-out ones."""
    assert data is not None  # ensured by ExportConfig
    dataset = open_dataset(data)
    return _load(dataset, _calibrating(dataset.rows("val")), size)


def measure_parity(original: Model, answer: Exported, held: Held) -> Parity:
    """Run both on the held-out images, without mirrored images."""
    ours = original.answer(held.images, flip=False, batch_size=BATCH).groups
    batches = (held.images[i : i + BATCH] for i in range(0, len(held.images), BATCH))
    theirs = np.concatenate([answer(batch) for batch in batches])  # (N, groups)
    difference = float(abs(ours - theirs).max())
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    return Parity(held.words, difference, same)


def check_parity(parity: Parity, precision: Precision, source: Path) -> None:
    """Raise WeightsError for an export whose outputs differ from the original's or are NaN."""
    difference, same, instead = LIMITS[precision]
    if not (parity.difference <= difference and parity.same >= same):
        bound = f"at most {difference:.0e} and " if difference < 1 else ""
        raise WeightsError(
            f"The {precision} export of {source} differs: {parity} "
            f"(allowed: {bound}at least {same:.1%}): {instead}"
        )


def _calibrating(rows: np.ndarray) -> np.ndarray:
    """Choose the rows for calibration, at most a quarter."""
    return _spread(rows, min(CALIBRATION, -(-len(rows) // 4)))


def _load(dataset: Dataset, rows: np.ndarray, size: int) -> np.ndarray:
    return np.stack([square(Image.fromarray(dataset.images[row]), size) for row in rows])


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return that many evenly spaced rows, or all."""
    if count >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows), count, endpoint=False).astype(int)]


def _draw(size: int) -> np.ndarray:
    """Draw smooth random images (DRAWN, size, size, 3), coarse to fine, always the same."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(DRAWN):
        side = 3 + number % 14
        noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        pictures.append(square(Image.fromarray(noise), size))
    return np.stack(pictures)
