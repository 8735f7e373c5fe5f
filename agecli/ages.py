"""Age groups: schemes, ages to groups, and year distributions to group probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from agecli.decision import LIKELIEST, Decision
from agecli.errors import UsageError, brief
from agecli.sets import COVERAGE, Limits, Sets

YEARS = 101  # a year distribution covers the ages 0 to 100; older ages count as 100
OLDEST = 120
"""The end of an open range of ages, such as "60+"."""
NO_GROUP = -1

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
Labels = Annotated[list[Annotated[str, Meta(max_length=7)]], Meta(min_length=2, max_length=YEARS)]
"""Labels of a scheme's groups, young to old, as in files."""
Array = TypeVar("Array", bound=Any)
"""An array of NumPy or a tensor of torch."""

_NAMED = {
    "adience8": "0-2,4-6,8-13,15-20,25-32,38-43,48-53,60+",
    "decades": "0-9,10-19,20-29,30-39,40-49,50-59,60-69,70+",
}


class Age(NamedTuple):
    """An age as it is labelled: a year, or a range of years, inclusive."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> Age:
        """Parse an age written by `str`: "34", "25-32" or "60+". Raises ValueError for others."""
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3})|(\+))?", text, re.ASCII)
        if match:
            low = int(match[1])
            high = OLDEST if match[3] else int(match[2] or low)
            if low <= high <= OLDEST:
                return cls(low, high)
        raise ValueError(f"{brief(repr(text))} is neither an age from 0 to {OLDEST} nor a range")

    @property
    def is_year(self) -> bool:
        """Return whether the age is a single year."""
        return self.low == self.high

    def __str__(self) -> str:
        if self.is_year:
            return str(self.low)
        return f"{self.low}+" if self.high == OLDEST else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Scheme:
    """An ordered list of age groups, each an inclusive range of years."""

    bounds: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> Scheme:
        """Parse a scheme from its name (adience8, decades) or its labels ("0-2,4-6,60+").

        Raises UsageError for anything else, and for groups that overlap or are out of order.
        """
        if isinstance(text, str):
            labels = [part.strip() for part in _NAMED.get(text, text).split(",")]
        else:
            labels = list(text)
        bounds = []
        for label in labels:
            match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3})|(\+))?", label)
            if not match:
                raise UsageError(
                    f"--scheme: {label!r} is not an age group; use {', '.join(_NAMED)} "
                    'or labels such as "0-2,4-6,60+"'
                )
            low = int(match[1])
            bounds.append((low, YEARS - 1 if match[3] else int(match[2] or low)))
        previous = -1
        for label, (low, high) in zip(labels, bounds, strict=True):
            if not previous < low <= high < YEARS:
                raise UsageError(
                    f"--scheme: group {label!r} overlaps, is out of order or ends after "
                    f"{YEARS - 1}; list the groups from young to old"
                )
            previous = high
        if len(bounds) < 2:
            raise UsageError("--scheme: needs at least two groups")
        return cls(tuple(bounds))

    @property
    def labels(self) -> list[str]:
        """Return the groups as text, young to old; the last is open ("60+") if it reaches 100."""
        return [f"{low}+" if high == YEARS - 1 else f"{low}-{high}" for low, high in self.bounds]

    def __len__(self) -> int:
        return len(self.bounds)

    def groups_of(self, ages: ArrayLike) -> IntArray:
        """Return the index (N,) of each age's group, or NO_GROUP for a gap age.

        ages: years (N,), or labels (N, 2) of a first and a last year, whose group is the one with
        more than half of their years.
        """
        low, high = _ends(ages)
        return self.range_groups()[low, high]

    def nearest_groups(self, ages: ArrayLike) -> IntArray:
        """Return the index (N,) of the group nearest to each age; ties go to the younger.

        ages: years (N,), or labels (N, 2), whose nearest group contains most of their years, or
        else is nearest to their middle.
        """
        low, high = _ends(ages)
        inside = self.years_inside(ages)  # (N, groups)
        first, last = np.array(self.bounds).T
        middle = (low + high)[:, None] / 2
        distance = np.maximum(first - middle, middle - last)  # (N, groups), negative inside
        return np.where(inside.any(axis=1), inside.argmax(axis=1), distance.argmin(axis=1))

    def range_groups(self) -> IntArray:
        """Return the group of every first and last year, (YEARS, YEARS), by `groups_of`."""
        low, high = every_label().T
        inside = self.years_inside(every_label())
        most = inside.argmax(axis=1)
        holds = 2 * inside.max(axis=1) > high + 1 - low
        return np.where(holds & (low <= high), most, NO_GROUP).reshape(YEARS, YEARS)

    def years_inside(self, ages: ArrayLike) -> IntArray:
        """Count the years (N, groups) of each age, (N,) or (N, 2), that lie in each group."""
        low, high = _ends(ages)
        first, last = np.array(self.bounds).T
        overlap = np.minimum(last, high[:, None]) - np.maximum(first, low[:, None]) + 1
        return np.maximum(overlap, 0)

    def near_shares(self, ages: ArrayLike) -> FloatArray:
        """Return the share of an age's years that are nearest to each group, (N, groups).

        ages: years (N,), or labels (N, 2).
        """
        low, high = _ends(ages)
        nearest = self.nearest_groups(np.arange(YEARS))[:, None] == np.arange(len(self))
        before = np.pad(nearest.cumsum(axis=0), ((1, 0), (0, 0)))  # (YEARS + 1, groups)
        years = np.maximum(high + 1 - low, 1)[:, None]
        return ((before[high + 1] - before[low]) / years).astype(np.float32)

    def year_matrix(self) -> FloatArray:
        """Return the 0/1 matrix (YEARS, groups) that sums year probabilities into groups."""
        groups = self.groups_of(np.arange(YEARS))
        return (groups[:, None] == np.arange(len(self))).astype(np.float32)


def years_of(ages: ArrayLike) -> FloatArray:
    """Return the years (N,) of labels (N, 2), or years (N,); NaN for a range."""
    ages = np.asarray(ages, dtype=np.float64)
    return ages if ages.ndim == 1 else np.where(ages[:, 0] == ages[:, 1], ages[:, 0], np.nan)


def every_label() -> IntArray:
    """Return all first and last years of labels, (YEARS · YEARS, 2)."""
    return np.indices((YEARS, YEARS)).reshape(2, -1).T


def _ends(ages: ArrayLike) -> tuple[IntArray, IntArray]:
    """Return the first and last years (N,) of labels (N, 2) or years (N,), within 0 to 100."""
    years = np.clip(ages, 0, YEARS - 1)
    return (years, years) if years.ndim == 1 else (years[:, 0], years[:, 1])


def knows_years(objective: str) -> bool:
    """Return whether a model of an objective predicts years rather than groups."""
    return objective in ("ages", "both")


def outputs_of(objective: str, scheme: Scheme) -> int:
    """Return the number of outputs of a model with an objective: groups, or years."""
    return YEARS if knows_years(objective) else len(scheme)


def label_distribution(ages: ArrayLike, width: float = 1.0) -> FloatArray:
    """Spread each age over the years 0-100 as a normalised Gaussian, wider for older ages.

    The standard deviation is width · (0.6 + 0.06 · age) years: faces show a toddler's age to
    within months, a pensioner's to within half a decade. Returns (N, YEARS). See
    Geng 2016 and, for ages, Gao et al. 2018 (DLDL-v2).
    """
    centre = np.clip(np.asarray(ages, dtype=np.float64), 0, YEARS - 1)[:, None]
    sigma = width * (0.6 + 0.06 * centre)
    density = np.exp(-0.5 * ((np.arange(YEARS) - centre) / sigma) ** 2)
    return (density / density.sum(axis=1, keepdims=True)).astype(np.float32)


def softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Convert logits (N, K), divided by the temperature, to probabilities (N, K)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def sum_years(years: Array, matrix: Array) -> Array:
    """Return the group probabilities (N, groups) of year distributions (N, YEARS).

    matrix: `Scheme.year_matrix`. They are renormalised over the scheme, so that probability on gap
    ages counts for no group. For NumPy arrays or torch tensors.
    """
    groups = years @ matrix + 1e-12
    return groups / groups.sum(1)[:, None]


def median_ages(years: Array) -> Array:
    """Return the median ages (N,) of year distributions (N, YEARS), of NumPy or torch.

    A year stands for the time from half a year before it to half a year after. So read, no other
    prediction has a lower expected absolute error; the mean's is higher for skewed distributions.
    """
    below = years.cumsum(1)  # (N, YEARS), up to the end of each year
    middle = (below >= 0.5).cumsum(1) == 1  # (N, YEARS), the first year that reaches the half
    beyond = ((below - 0.5) * middle).sum(1)
    return (below < 0.5).sum(1) + 0.5 - beyond / (years * middle).sum(1)


@dataclass(frozen=True)
class Answers:
    """A model's predictions for N images: over the groups of a scheme, or over years."""

    distribution: FloatArray
    """(N, groups) or, for a model of years, (N, YEARS)."""
    scheme: Scheme
    knows_years: bool
    decision: Decision = LIKELIEST
    sets: Sets | None = None
    """None if none were fitted."""

    @cached_property
    def groups(self) -> FloatArray:
        """Return the probabilities of the groups, (N, groups)."""
        if not self.knows_years:
            return self.distribution
        matrix = self.scheme.year_matrix().astype(self.distribution.dtype)
        return sum_years(self.distribution, matrix)

    @cached_property
    def ages(self) -> FloatArray | None:
        """Return the median ages in years, (N,), or None for a model of groups."""
        return median_ages(self.distribution) if self.knows_years else None

    @cached_property
    def decided(self) -> IntArray:
        """Return the predicted groups, (N,)."""
        return self.decision.decide(self.groups)

    def limits(self, sides: ArrayLike, coverage: float = COVERAGE) -> Limits | None:
        """Return the age sets of faces with sides (N,), or one, by `Sets.limits`."""
        return self.sets.limits(self, sides, coverage) if self.sets else None
