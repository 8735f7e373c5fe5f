"""Metrics of a model; NumPy only.

Groups are indices 0..K-1 from young to old. If a figure would divide by zero (the recall of a
group without images, the precision of a group that is never predicted) it is 0, as with
scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, FloatArray, IntArray, Scheme, years_of
from agecli.reading import convert

CS_YEARS = 5
"""Largest error in years that counts as right in the cumulative score."""

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""

_Z = 1.959963984540054  # the normal distribution's 97.5 % quantile: a 95 % interval


@dataclass(frozen=True)
class GroupScores:
    """A model's scores for a group."""

    n: int
    """Images of the group."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Scores:
    """A model's scores; shares are 0 to 1.

    Gap ages have no true group: all but `nearest` and the figures in years are over the images
    whose age has a group. Figures that an earlier version did not measure are None.
    """

    n: int
    exact: float
    exact_interval: list[float]
    """95 % interval, by Wilson."""
    one_off: float
    macro_f1: float
    kappa: float | None
    """Quadratic."""
    ece: float | None
    """Expected calibration error."""
    nearest: float | None
    """Accuracy over all images with a known year, each assigned to its nearest group."""
    majority: float
    """Accuracy of always predicting the majority group."""
    majority_group: str
    """The group with most of these images."""
    per_group: dict[str, GroupScores]
    confusion: list[list[int]]
    """Rows are true groups."""
    n_ages: int | None
    """Images with a known year and a predicted age; None if the model, or the labels, have none."""
    mae: float | None
    """Mean absolute error in years."""
    cs5: float | None
    """Share of ages at most CS_YEARS off."""

    def plain(self) -> dict[str, Any]:
        """Return the figures as stored in JSON and in weights files."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> Scores:
        """Return the scores of a weights file's `metrics`."""
        figures = {field.name: metrics.get(field.name) for field in fields(cls)}
        tables: dict[str, Any] = {"per_group": {}, "confusion": []}
        return convert(figures | {k: metrics.get(k, empty) for k, empty in tables.items()}, cls)


def confusion_matrix(truth: IntArray, answer: IntArray, groups: int) -> NDArray[np.int64]:
    """Count images (groups, groups) by true group (rows) and predicted group (columns)."""
    cells = np.asarray(truth, dtype=np.int64) * groups + answer
    return np.bincount(cells, minlength=groups * groups).reshape(groups, groups)


def exact_accuracy(confusion: NDArray[np.integer]) -> float:
    """Return the share of images in their true group, from a matrix (groups, groups)."""
    return _share(np.trace(confusion), confusion.sum())


def one_off_accuracy(confusion: NDArray[np.integer]) -> float:
    """Return the share in the true or a neighbouring group (Eidinger et al. 2014)."""
    near = sum(np.trace(confusion, offset=offset) for offset in (-1, 0, 1))
    return _share(near, confusion.sum())


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n images (Wilson 1927); (0, 1) if n is 0."""
    if n == 0:
        return 0.0, 1.0
    centre = share + _Z**2 / (2 * n)
    spread = _Z * np.sqrt(share * (1 - share) / n + (_Z / (2 * n)) ** 2)
    scale = 1 + _Z**2 / n
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def group_figures(confusion: NDArray[np.integer]) -> dict[str, FloatArray]:
    """Return the precision, recall and f1 of every group, each (groups,)."""
    right = np.diag(confusion).astype(np.float64)
    images, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": right / np.maximum(answers, 1),
        "recall": right / np.maximum(images, 1),
        "f1": 2 * right / np.maximum(images + answers, 1),
    }


def macro_f1(confusion: NDArray[np.integer]) -> float:
    """Average F1 over the groups that occur, true or predicted, like scikit-learn's macro average.

    confusion: (groups, groups).
    """
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return _share(group_figures(confusion)["f1"].sum(), occurs.sum())


def quadratic_kappa(confusion: NDArray[np.integer]) -> float:
    """Return the agreement beyond chance, errors weighted by squared distance (Cohen 1968).

    1 is perfect, 0 is chance; 0 if only one group occurs and chance is perfect.
    """
    groups = np.arange(len(confusion))
    weights = (groups[:, None] - groups) ** 2
    chance = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / max(confusion.sum(), 1)
    expected = (weights * chance).sum()
    return float(1 - (weights * confusion).sum() / expected) if expected else 0.0


def calibration_bins(
    probabilities: FloatArray, truth: IntArray, bins: int = BINS
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Sort images by the probability of their predicted group into bins of equal width.

    probabilities: (N, groups); truth: (N,). Returns the number of images in each bin, their mean
    probability and their accuracy, each (bins,); 0 for an empty bin.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    # A diverged model outputs NaN, which belongs to no bin: it goes to the first.
    place = np.clip(np.ceil(np.nan_to_num(confidence) * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    some = np.maximum(images, 1)
    return (
        images,
        np.bincount(place, confidence, minlength=bins) / some,
        np.bincount(place, right, minlength=bins) / some,
    )


def calibration_error(probabilities: FloatArray, truth: IntArray, bins: int = BINS) -> float:
    """Return the expected calibration error, ECE (Guo et al. 2017, eq. 3)."""
    images, confidence, accuracy = calibration_bins(probabilities, truth, bins)
    return _share((images * np.abs(confidence - accuracy)).sum(), images.sum())


def mean_absolute_error(truth: FloatArray, answer: FloatArray) -> float:
    """Return the mean absolute error in years of predicted ages (N,)."""
    return float(np.abs(answer - truth).mean())


def cumulative_score(truth: FloatArray, answer: FloatArray, years: float = CS_YEARS) -> float:
    """Return the share of ages predicted at most `years` off (Geng et al. 2007, "AGES")."""
    return float((np.abs(answer - truth) <= years).mean())


def score(
    probabilities: FloatArray, ages: IntArray, scheme: Scheme, answered: FloatArray | None = None,
    decided: IntArray | None = None,
) -> Scores:  # fmt: skip
    """Return every figure.

    probabilities: (N, groups). ages: (N,) in years, or labels
    (N, 2): a range counts if it has a group by `Scheme.groups_of`. answered: (N,),
    predicted ages in years, or None without any. decided: (N,), predicted groups; the
    likeliest by default.
    """
    truth = scheme.groups_of(ages)
    groups = probabilities.argmax(axis=1) if decided is None else decided
    near = groups == scheme.nearest_groups(ages)
    known = truth != NO_GROUP
    confusion = confusion_matrix(truth[known], groups[known], len(scheme))
    images = confusion.sum(axis=1)
    n, exact, figures = int(images.sum()), exact_accuracy(confusion), group_figures(confusion)
    years: tuple[int, float, float] | tuple[None, None, None] = (None, None, None)
    labels = years_of(ages)
    single = np.isfinite(labels)
    if answered is not None and single.any():
        true, told = labels[single], answered[single]
        years = len(true), mean_absolute_error(true, told), cumulative_score(true, told)
    return Scores(
        n=n,
        exact=exact,
        exact_interval=list(wilson_interval(exact, n)),
        one_off=one_off_accuracy(confusion),
        macro_f1=macro_f1(confusion),
        kappa=quadratic_kappa(confusion),
        ece=calibration_error(probabilities[known], truth[known]),
        nearest=float(near[single].mean()) if single.any() else None,
        majority=_share(images.max(), n),
        majority_group=scheme.labels[images.argmax()],
        per_group={
            label: GroupScores(
                int(images[group]), *(float(values[group]) for values in figures.values())
            )
            for group, label in enumerate(scheme.labels)
        },
        confusion=confusion.tolist(),
        n_ages=years[0],
        mae=years[1],
        cs5=years[2],
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
