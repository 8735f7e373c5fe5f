"""Coverage of age sets, and the gain from abstaining where a model is uncertain."""

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
    """Coverage of the true group on a part of the images, and the size of the sets."""

    by: str
    """The criterion, like that of a `Slice`."""
    value: str
    n: int
    coverage: float
    interval: tuple[float, float]
    """95 % interval of `coverage`, by Wilson."""
    size: float
    """Mean number of groups of a set."""


@dataclass(frozen=True)
class Coverage:
    """Coverage and size of a model's age sets on a split."""

    wanted: float
    """The coverage that the sets promise, 0 to 1."""
    whole: Part
    parts: list[Part]
    years: float | None = None
    """Share of true years within the sets' years; None without years."""
    width: float | None = None
    """Mean number of years of a set."""

    @property
    def worst(self) -> Part | None:
        """Return the part with the lowest coverage, among those that are large enough."""
        large = (part for part in self.parts if part.n >= SMALLEST_SLICE)
        return min(large, key=lambda part: part.coverage, default=None)

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        return asdict(self) | {"worst": self.worst and asdict(self.worst)}

    def figures(self) -> dict[str, float]:
        """Return the figures for gates, named after the promised coverage."""
        percent = f"{100 * self.wanted:g}"
        found = {f"coverage{percent}": self.whole.coverage, f"set_size{percent}": self.whole.size}
        if self.years is not None and self.width is not None:
            found |= {f"years_coverage{percent}": self.years, f"years_width{percent}": self.width}
        return found


def measure_coverage(
    answers: Answers, ages: IntArray, columns: dict[str, NDArray[np.str_]], side: float,
    wanted: float,
) -> Coverage | None:  # fmt: skip
    """Compare the sets of predictions with the truth; return None without sets.

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
    """Return the error rate of the most confident 1, 2, ..., N predictions of N, (N,).

    Their mean is the area under the risk-coverage curve, AURC (Geifman and El-Yaniv 2017).
    """
    wrong = ~right[np.argsort(-sure, kind="stable")]
    return wrong.cumsum() / np.arange(1, len(wrong) + 1)


def risk_figures(sure: FloatArray, right: NDArray[np.bool_]) -> dict[str, float]:
    """Return the AURC, and the accuracy on the most confident half of N predictions."""
    found = risks(sure, right)
    return {"aurc": float(found.mean()), "exact_half": float(1 - found[(len(found) - 1) // 2])}
