"""The figures by which a model is judged; numpy only.

Groups are indices 0..K-1 from young to old. Where a figure would divide by zero (the recall of a
group without images, the precision of a group that was never answered) it is 0, as with
scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, FloatArray, IntArray, Scheme

CS_YEARS = 5
"""An age counts as right in the cumulative score when it is at most so many years off."""

_Z = 1.959963984540054  # the normal distribution's 97.5 % quantile: a 95 % interval


def confusion_matrix(truth: IntArray, answer: IntArray, groups: int) -> NDArray[np.int64]:
    """Count images (groups, groups) by true group (rows) and answered group (columns)."""
    cells = np.asarray(truth, dtype=np.int64) * groups + answer
    return np.bincount(cells, minlength=groups * groups).reshape(groups, groups)


def exact_accuracy(confusion: NDArray[np.integer]) -> float:
    """Give the share of images answered with their own group."""
    return _share(np.trace(confusion), confusion.sum())


def one_off_accuracy(confusion: NDArray[np.integer]) -> float:
    """Give the share answered with their own or a neighbouring group (Eidinger et al. 2014)."""
    near = sum(np.trace(confusion, offset=offset) for offset in (-1, 0, 1))
    return _share(near, confusion.sum())


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Give the 95 % interval of a share of n images (Wilson 1927); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    centre = share + _Z**2 / (2 * n)
    spread = _Z * np.sqrt(share * (1 - share) / n + (_Z / (2 * n)) ** 2)
    scale = 1 + _Z**2 / n
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def group_figures(confusion: NDArray[np.integer]) -> dict[str, FloatArray]:
    """Give the precision, recall and f1 of every group, each (groups,)."""
    right = np.diag(confusion).astype(np.float64)
    images, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": right / np.maximum(answers, 1),
        "recall": right / np.maximum(images, 1),
        "f1": 2 * right / np.maximum(images + answers, 1),
    }


def macro_f1(confusion: NDArray[np.integer]) -> float:
    """Average f1 over the groups that occur, as true or as answered, like scikit-learn's macro."""
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return _share(group_figures(confusion)["f1"].sum(), occurs.sum())


def mean_absolute_error(truth: IntArray, answer: FloatArray) -> float:
    """Give the mean distance in years between ages (N,) and answered ages (N,)."""
    return float(np.abs(answer - truth).mean())


def cumulative_score(truth: IntArray, answer: FloatArray, years: float = CS_YEARS) -> float:
    """Give the share of ages answered at most `years` off (Geng et al. 2007, "AGES")."""
    return float((np.abs(answer - truth) <= years).mean())


def score(
    probabilities: FloatArray, ages: IntArray, scheme: Scheme, expected: FloatArray | None = None
) -> dict[str, Any]:
    """Give every figure as plain numbers, ready for JSON.

    probabilities: (N, groups); the answer is the likeliest group. ages: (N,), labels in years.
    expected: (N,), answered ages in years, or None where the model gives none.

    Gap ages have no right group: `n`, `exact`, `exact_interval`, `one_off`, `macro_f1`,
    `majority` (accuracy of always answering `majority_group`, the group with most of these
    images), `per_group` and `confusion` (rows are true groups) are over the images whose age has
    a group. `n_ages`, `mae` (years) and `cs5` are over all N, and absent without `expected`.
    Shares are 0 to 1.
    """
    truth = scheme.groups_of(ages)
    known = truth != NO_GROUP
    confusion = confusion_matrix(truth[known], probabilities[known].argmax(axis=1), len(scheme))
    images = confusion.sum(axis=1)
    n, exact, figures = int(images.sum()), exact_accuracy(confusion), group_figures(confusion)
    scores = {
        "n": n,
        "exact": exact,
        "exact_interval": list(wilson_interval(exact, n)),
        "one_off": one_off_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "majority": _share(images.max(), n),
        "majority_group": scheme.labels[images.argmax()],
        "per_group": {
            label: {"n": int(images[group])}
            | {name: float(values[group]) for name, values in figures.items()}
            for group, label in enumerate(scheme.labels)
        },
        "confusion": confusion.tolist(),
    }
    if expected is not None and len(ages):
        scores |= {
            "n_ages": len(ages),
            "mae": mean_absolute_error(ages, expected),
            "cs5": cumulative_score(ages, expected),
        }
    return scores


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
