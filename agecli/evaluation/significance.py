"""Whether one model is better than another, beyond chance: intervals, tests, slices; numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, FloatArray, IntArray, Scheme
from agecli.evaluation.metrics import wilson_interval

RESAMPLES = 2000
"""Samples of a bootstrap."""
CHUNK = 250
"""Samples drawn at once: what a bootstrap holds stays small."""
CERTAIN = 0.05
"""A p-value below which a difference is called one."""
SMALLEST_SLICE = 30
"""Images below which a slice's figures say too little to be given."""


def bootstrap_interval(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (N,), by the bootstrap (Efron 1979)."""
    low, high = np.quantile(_resampled_means(values, seed), (0.025, 0.975))
    return float(low), float(high)


def _resampled_means(values: FloatArray, seed: int) -> FloatArray:
    """Draw N of N values with replacement again and again, and give each draw's mean."""
    random = np.random.default_rng(seed)
    values = np.asarray(values, dtype=np.float64)
    shape = (CHUNK, len(values))
    draws = (random.integers(len(values), size=shape) for _ in range(RESAMPLES // CHUNK))
    return np.concatenate([values[places].mean(axis=1) for places in draws])


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of McNemar's exact test of two models' right answers (N,).

    Of the images that exactly one model has right, each is as likely to have more of them if both
    are equally good: a binomial test with 1/2 (McNemar 1947).
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another, on the same images."""

    first: str
    second: str
    difference: float
    """Of the first one's measure to the second one's."""
    interval: tuple[float, float]
    """95 %, by the bootstrap over images, the same ones for both."""
    p: float
    """By McNemar's exact test; of years, by the same of which model is nearer."""
    measure: Literal["exact", "years"] = "exact"
    """Exact accuracy, or the mean error in years, of which less is better."""

    @property
    def verdict(self) -> str:
        """Which model is better in words, or that they cannot be told apart."""
        if self.p >= CERTAIN:
            return "not told apart"
        first = (self.difference > 0) == (self.measure == "exact")
        return f"{self.first if first else self.second} is better"


@dataclass(frozen=True)
class Slice:
    """How right a model is on a part of the images; no figures where there are too few."""

    by: str
    """What the images are told apart by: sex, race, source, a column that was kept, age group."""
    value: str
    n: int
    exact: float | None = None
    interval: list[float] | None = None
    """95 % of `exact`, by Wilson."""
    one_off: float | None = None
    bias: float | None = None
    """How many groups too old the answers are on average, or too young below 0."""


def exact_difference(
    names: tuple[str, str], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> Difference:
    """Compare which of the same images (N,) two models have right."""
    gain = first.astype(np.float64) - second
    return Difference(*names, float(gain.mean()), bootstrap_interval(gain), mcnemar(first, second))


def years_difference(names: tuple[str, str], first: FloatArray, second: FloatArray) -> Difference:
    """Compare two models' errors in years (N,), of either sign, on the same images."""
    loss = np.abs(first) - np.abs(second)
    p = mcnemar(loss < 0, loss > 0)  # the sign test
    return Difference(*names, float(loss.mean()), bootstrap_interval(loss), p, "years")


def slices(
    answers: IntArray, ages: IntArray, scheme: Scheme, columns: dict[str, NDArray[np.str_]]
) -> list[Slice]:
    """Score the images of each value of each column, and of each age group, by themselves.

    answers: (N,) groups; ages: (N,) or (N, 2), as for `Scheme.groups_of`; columns: what is known of
    the images, (N,) each, empty where unknown.
    There are no figures for fewer than SMALLEST_SLICE images.
    """
    error = answers - scheme.groups_of(ages)
    return [_slice(by, value, error[own]) for by, value, own in parts(ages, scheme, columns)]


def parts(
    ages: IntArray, scheme: Scheme, columns: dict[str, NDArray[np.str_]]
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield each column and value, and each age group, with which images (N,) with a group it has.

    ages, columns: as for `slices`.
    """
    truth = scheme.groups_of(ages)
    known = truth != NO_GROUP
    labels = np.array(scheme.labels)
    every = columns | {"age group": np.where(known, labels[truth], "")}
    for by, column in every.items():
        order = scheme.labels if by == "age group" else sorted(set(column[known]) - {""})
        for value in order:
            chosen = known & (column == value)
            if chosen.any():
                yield by, str(value), chosen


def _slice(by: str, value: str, error: IntArray) -> Slice:
    n = len(error)
    if n < SMALLEST_SLICE:
        return Slice(by, value, n)
    exact = float((error == 0).mean())
    one_off = float((np.abs(error) <= 1).mean())
    return Slice(by, value, n, exact, [*wilson_interval(exact, n)], one_off, float(error.mean()))


def worst_slice(found: list[Slice]) -> Slice | None:
    """Return the slice with the lowest exact accuracy, of those that are large enough."""
    return min(
        (part for part in found if part.exact is not None),
        key=lambda part: part.exact or 0.0,
        default=None,
    )
