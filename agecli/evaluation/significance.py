"""Whether one model is better than another, beyond chance: intervals, tests, slices; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, FloatArray, IntArray, Scheme
from agecli.evaluation.metrics import wilson_interval

RESAMPLES = 2000
"""Samples of a bootstrap."""
CHUNK = 250
"""Samples drawn at once: what a bootstrap holds stays small."""
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
    """How much more of the same images one model has right than another."""

    first: str
    second: str
    difference: float
    """Exact accuracy of the first one less that of the second one."""
    interval: tuple[float, float]
    """95 %, by the bootstrap over images, the same ones for both."""
    p: float
    """By McNemar's exact test."""


def compare(names: list[str], right: list[NDArray[np.bool_]]) -> list[Difference]:
    """Compare models in pairs. right: per model, (N,) which of the same images it has right."""
    return [
        Difference(
            names[i],
            names[j],
            float(right[i].mean() - right[j].mean()),
            bootstrap_interval(right[i].astype(np.float64) - right[j]),
            mcnemar(right[i], right[j]),
        )
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]


def slices(
    answers: IntArray, ages: IntArray, scheme: Scheme, columns: dict[str, NDArray[np.str_]]
) -> list[dict[str, Any]]:
    """Score the images of each value of each column, and of each age group, by themselves.

    answers: (N,) groups; columns: what is known of the images, (N,) each, empty where unknown. A
    slice has `by`, `value`, `n`, `exact` with its Wilson `interval`, `one_off` and `bias` (groups
    answered too old, or too young below 0); the figures are None where n is below SMALLEST_SLICE.
    """
    truth = scheme.groups_of(ages)
    known = truth != NO_GROUP
    labels = np.array(scheme.labels)
    every = columns | {"age group": np.where(known, labels[truth], "")}
    found = []
    for by, column in every.items():
        order = scheme.labels if by == "age group" else sorted(set(column[known]) - {""})
        for value in order:
            chosen = known & (column == value)
            if chosen.any():
                found.append(
                    {"by": by, "value": str(value)} | _slice(answers[chosen], truth[chosen])
                )
    return found


def _slice(answers: IntArray, truth: IntArray) -> dict[str, Any]:
    n = len(truth)
    if n < SMALLEST_SLICE:
        return {"n": n} | dict.fromkeys(("exact", "interval", "one_off", "bias"))
    error = answers - truth
    exact = float((error == 0).mean())
    return {
        "n": n,
        "exact": exact,
        "interval": list(wilson_interval(exact, n)),
        "one_off": float((np.abs(error) <= 1).mean()),
        "bias": float(error.mean()),
    }


def worst_slice(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the slice with the lowest exact accuracy, of those that are large enough."""
    return min((s for s in found if s["exact"] is not None), key=lambda s: s["exact"], default=None)
