"""How often age sets hold the truth, and what is gained by answering where a model is surest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, YEARS, Answers, FloatArray, IntArray, years_of
from agecli.evaluation.metrics import wilson_interval
from agecli.evaluation.significance import SMALLEST_SLICE, parts


@dataclass(frozen=True)
class Part:
    """How often the sets of a part of the images hold the true group, and how many groups."""

    by: str
    """As that of a `Slice`."""
    value: str
    n: int
    coverage: float
    interval: tuple[float, float]
    """95 % of `coverage`, by Wilson."""
    size: float
    """Groups of a set, on average."""


@dataclass(frozen=True)
class Coverage:
    """How a model's age sets do on a split."""

    wanted: float
    """What the sets promise, 0 to 1."""
    whole: Part
    parts: list[Part]
    years: float | None = None
    """How often the true year is in the years; None where there are none."""
    width: float | None = None
    """Years of a set, on average."""

    @property
    def worst(self) -> Part | None:
        """The part with the lowest coverage, of those that are large enough."""
        large = (part for part in self.parts if part.n >= SMALLEST_SLICE)
        return min(large, key=lambda part: part.coverage, default=None)

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        return asdict(self) | {"worst": self.worst and asdict(self.worst)}

    def figures(self) -> dict[str, float]:
        """Return the figures by which it is gated, named after what the sets promise."""
        percent = f"{100 * self.wanted:g}"
        found = {f"coverage{percent}": self.whole.coverage, f"set_size{percent}": self.whole.size}
        if self.years is not None and self.width is not None:
            found |= {f"years_coverage{percent}": self.years, f"years_width{percent}": self.width}
        return found


def measure_coverage(
    answers: Answers, ages: IntArray, columns: dict[str, NDArray[np.str_]], side: float,
    wanted: float,
) -> Coverage | None:  # fmt: skip
    """Hold the sets of answers against the truth; None where there are no sets.

    ages, columns: as for `slices`. side: of all faces' boxes, in pixels.
    """
    limits = answers.limits(side, wanted)
    if limits is None:
        return None
    truth, true = answers.scheme.groups_of(ages), years_of(ages)
    low, high = limits.groups.T
    held, size = (low <= truth) & (truth <= high), high - low + 1
    known, dated = truth != NO_GROUP, np.isfinite(true)
    found = [
        _part(by, value, held[own], size[own])
        for by, value, own in parts(ages, answers.scheme, columns)
    ]
    years: dict[str, float] = {}
    if limits.years is not None and dated.any():
        first, last = limits.years.T
        inside = (first <= true) & (np.minimum(true, YEARS - 1) <= last)
        years = {"years": float(inside[dated].mean()), "width": float((last - first + 1).mean())}
    return Coverage(wanted, _part("all", "", held[known], size[known]), found, **years)


def _part(by: str, value: str, held: NDArray[np.bool_], size: IntArray) -> Part:
    share = float(held.mean())
    return Part(by, value, len(held), share, wilson_interval(share, len(held)), float(size.mean()))


def risks(sure: FloatArray, right: NDArray[np.bool_]) -> FloatArray:
    """Return the share of wrong answers among the surest 1, 2, ..., N of N images (N,).

    Their mean is the area under the risk-coverage curve, AURC (Geifman and El-Yaniv 2017).
    """
    wrong = ~right[np.argsort(-sure, kind="stable")]
    return wrong.cumsum() / np.arange(1, len(wrong) + 1)


def risk_figures(sure: FloatArray, right: NDArray[np.bool_]) -> dict[str, float]:
    """Return the AURC, and the accuracy on the half of N images that a model is surest of."""
    found = risks(sure, right)
    return {"aurc": float(found.mean()), "exact_half": float(1 - found[(len(found) - 1) // 2])}
