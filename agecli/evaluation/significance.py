"""Statistical comparison of models: intervals, tests, slices; NumPy only."""

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
"""Samples drawn at once, to limit memory."""
CERTAIN = 0.05
"""The p-value below which a difference is significant."""
SMALLEST_SLICE = 30
"""Fewest images for which a slice's figures are shown."""


def bootstrap_interval(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (N,), by the bootstrap (Efron 1979)."""
    low, high = np.quantile(_resampled_means(values, seed), (0.025, 0.975))
    return float(low), float(high)


def _resampled_means(values: FloatArray, seed: int) -> FloatArray:
    """Return the means of bootstrap samples, N of N values with replacement."""
    random = np.random.default_rng(seed)
    values = np.asarray(values, dtype=np.float64)
    shape = (CHUNK, len(values))
    draws = (random.integers(len(values), size=shape) for _ in range(RESAMPLES // CHUNK))
    return np.concatenate([values[places].mean(axis=1) for places in draws])


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of McNemar's exact test of two models' correctness (N,).

    Of the images that only one model has right, each model is as likely to have any if both
    are equally good: a binomial test with 1/2 (McNemar 1947).
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


@dataclass(frozen=True)
class Difference:
    """The difference between two models on the same images."""

    first: str
    second: str
    difference: float
    """The first model's measure minus the second one's."""
    interval: tuple[float, float]
    """95 % interval, by the bootstrap over images, the same ones for both."""
    p: float
    """By McNemar's exact test; for years, by the same test of which model is nearer."""
    measure: Literal["exact", "years"] = "exact"
    """Exact accuracy, or the mean error in years, where less is better."""

    @property
    def verdict(self) -> str:
        """Return in words which model is better, or that the difference is not significant."""
        if self.p >= CERTAIN:
            return "not told apart"
        first = (self.difference > 0) == (self.measure == "exact")
        return f"{self.first if first else self.second} is better"


@dataclass(frozen=True)
class Slice:
    """A model's scores on a part of the images; no figures if there are too few."""

    by: str
    """The criterion: sex, race, source, a kept column, age group."""
    value: str
    n: int
    exact: float | None = None
    interval: list[float] | None = None
    """95 % interval of `exact`, by Wilson."""
    one_off: float | None = None
    bias: float | None = None
    """Mean signed error in groups: positive if predicted too old."""


def exact_difference(
    names: tuple[str, str], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> Difference:
    """Compare the correctness of two models on the same images (N,)."""
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
    """Score the images of each value of each column, and of each age group, separately.

    answers: (N,) predicted groups; ages: (N,) or (N, 2), as for `Scheme.groups_of`; columns: of
    the images, (N,) each, empty if unknown.
    There are no figures for fewer than SMALLEST_SLICE images.
    """
    error = answers - scheme.groups_of(ages)
    return [_slice(by, value, error[own]) for by, value, own in parts(ages, scheme, columns)]


def parts(
    ages: IntArray, scheme: Scheme, columns: dict[str, NDArray[np.str_]]
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield each column and value, and each age group, with its mask (N,) of images with a group.

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
    """Return the slice with the lowest exact accuracy, among those that are large enough."""
    return min(
        (part for part in found if part.exact is not None),
        key=lambda part: part.exact or 0.0,
        default=None,
    )
