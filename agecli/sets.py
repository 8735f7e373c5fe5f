"""Age sets: the groups, and the years, that contain a face's age as often as promised.

Split conformal prediction (Angelopoulos and Bates 2023): a threshold is a quantile of a score over
validation images, so that the promised share of new images like them is covered by any model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from agecli.decision import Share

if TYPE_CHECKING:
    from agecli.ages import Answers, FloatArray, IntArray

COVERAGES = (0.8, 0.9, 0.95)
COVERAGE = 0.9
"""The default coverage."""
SIDES = (48, 96)
"""Upper bounds of the size classes, in pixels of a face's box: small faces have their own, and
so wider, sets."""

Score = Annotated[float, Meta(ge=0, le=1)]
Row = tuple[Score, Score, Score]
"""Thresholds for COVERAGES."""
Rows = Annotated[tuple[Row, ...], Meta(min_length=len(SIDES) + 1, max_length=len(SIDES) + 1)]
"""A row per size class, the smallest first."""


class Limits(NamedTuple):
    """The sets of N faces, without gaps along the age axis."""

    groups: IntArray
    """(N, 2) indices of the first and the last group."""
    years: IntArray | None
    """(N, 2) first and last years; None for a model of groups."""


@dataclass(frozen=True)
class Sets:
    """The thresholds of a model."""

    shares: tuple[Share, ...]
    """Each group's share of the validation images, young to old."""
    groups: Rows
    years: Rows | None = None
    """None for a model of groups, or without validation images with years."""
    own: tuple[Row, ...] = ()
    """Thresholds of each group, young to old, used if they are higher than the common
    ones, so that no group is covered less. Empty in files from earlier versions."""
    largest_entropy: Annotated[float, Meta(ge=0)] | None = None
    """Entropy of the groups' probabilities, in nats, above which a prediction is no better than
    always the most frequent group; None if all are better."""

    def limits(self, answers: Answers, sides: ArrayLike, coverage: float = COVERAGE) -> Limits:
        """Return the sets of predictions for N faces. sides: as for `within`."""
        groups = self.within(answers.groups, answers.decided, sides, coverage)
        if self.years is None or not answers.knows_years:
            return Limits(groups, None)
        inside = year_scores(answers.distribution) <= _thresholds(self.years, sides, coverage)
        return Limits(groups, _ends(inside))

    def within(
        self, chances: FloatArray, decided: IntArray, sides: ArrayLike, coverage: float = COVERAGE
    ) -> IntArray:
        """Return the first and last groups (N, 2) of faces, including the predicted one.

        chances: (N, groups); decided: (N,), predicted groups; sides: (N,) or one, of the faces'
        boxes in pixels of their images.
        """
        thresholds = _thresholds(self.groups, sides, coverage)  # (N, 1) or (1, 1)
        if self.own:
            own = np.array(self.own)[:, COVERAGES.index(coverage)]  # (groups,)
            thresholds = np.maximum(thresholds, own)
        inside = group_scores(chances, self.shares) <= thresholds
        inside[np.arange(len(chances)), decided] = True
        return _ends(inside)

    def sure(self, answers: Answers) -> NDArray[np.bool_]:
        """Return which of N predictions are better than always the most frequent group.

        Returns (N,).
        """
        largest = np.inf if self.largest_entropy is None else self.largest_entropy
        return entropies(answers.groups) <= largest


def entropies(chances: FloatArray) -> FloatArray:
    """Return the entropies in nats (N,) of probabilities (N, groups)."""
    return -(chances * np.log(np.maximum(chances, 1e-12))).sum(axis=1)


def group_scores(chances: FloatArray, shares: ArrayLike) -> FloatArray:
    """Return the nonconformity of each group (N, groups), 0 to 1.

    It is 1 minus the probability that a group would have if all were equally frequent: with the
    plain probability, rare groups are covered least (on UTKFace 67 % of the ages 38-43).
    """
    equal = chances / np.asarray(shares)
    return 1 - equal / equal.sum(axis=1, keepdims=True)


def year_scores(years: FloatArray) -> FloatArray:
    """Return the distance of each year from the median (N, YEARS), 0 to 1 of the distribution.

    Distributional conformal prediction (Chernozhukov et al. 2021); a year counts by its middle.
    """
    return np.minimum(1, 2 * np.abs(years.cumsum(axis=1) - years / 2 - 0.5))


def size_class(sides: ArrayLike) -> IntArray:
    """Return the size class of faces with sides in pixels, 0 for the smallest."""
    return np.searchsorted(SIDES, sides, side="right")


def check_sets(sets: Sets, groups: int, *, knows_years: bool = True) -> None:
    """Raise ValueError for thresholds that do not fit the number of groups, or the model."""
    if len(sets.shares) != groups:
        raise ValueError(f"sets: {len(sets.shares)} shares, not {groups}")
    if sets.years and not knows_years:
        raise ValueError("sets: it has years, which the model does not predict")
    if sets.own and len(sets.own) != groups:
        raise ValueError(f"sets: thresholds of {len(sets.own)} groups, not {groups}")
    for rows in (sets.groups, sets.years or sets.groups, sets.own):
        if any(list(row) != sorted(row) for row in rows):
            raise ValueError("sets: a threshold falls as the coverage rises")


def _thresholds(rows: Rows, sides: ArrayLike, coverage: float) -> FloatArray:
    """Return the thresholds (N, 1) of faces, or (1, 1)."""
    column = np.array(rows)[:, COVERAGES.index(coverage)]
    return column[size_class(np.atleast_1d(sides))][:, None]


def _ends(inside: NDArray[np.bool_]) -> IntArray:
    """Return the first and last indices (N, 2) that are inside (N, K)."""
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    return np.stack([inside.argmax(axis=1), last], axis=1)
