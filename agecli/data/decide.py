"""Decide each image's split and fold, and whether it is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agecli.ages import YEARS, Scheme
from agecli.config import PrepareConfig
from agecli.data.audit import age_spans
from agecli.data.split import (
    TEST,
    TRAIN,
    VAL,
    Array,
    Digests,
    Families,
    deal_folds,
    hold_out,
    join_persons,
)

CONFLICT_YEARS = 5
"""Years between the ages of duplicates above which these are in conflict."""

CONFLICT, DOUBTFUL = 3, 4
REASONS = (
    "",
    "its copy or person is in val",
    "its copy or person is in test",
    f"copies more than {CONFLICT_YEARS} years apart",
    "doubtful",
)
"""Reasons to leave out a usable image, by number; a leak's names the stricter split."""
LEAKS = REASONS[1:3]

Gather = Callable[[NDArray[np.bool_]], Families]
"""Returns the families of a mask (N,) of images."""


@dataclass(frozen=True)
class Known:
    """The facts by which to decide: a row per image, without names or places."""

    clusters: Array
    """(N,) equal for duplicates; -1 for an unusable image."""
    ages: Array
    """(N, 2) first and last year of the labels."""
    digests: Digests
    """(N, 32) SHA-256 of the files."""
    sources: Array
    """(N,) source numbers."""
    persons: Array
    """(N,) person numbers, -1 for unknown; persons of different sources differ."""
    splits: Array
    """(N,) the data set's own splits, as indices of `SPLITS`; -1 for none."""
    folds: Array
    """(N,) the data set's own folds, from 0; -1 for none."""
    doubtful: NDArray[np.bool_]
    """(N,) whether the label is doubtful: the image is not trained on."""


@dataclass(frozen=True)
class Decided:
    """The decisions, a row per image."""

    splits: Array
    """(N,) indices of `SPLITS`; -1 for an unusable image."""
    folds: Array
    """(N,) from 0; -1 for none."""
    reasons: Array
    """(N,) indices of `REASONS`."""


def decide(known: Known, config: PrepareConfig) -> Decided:
    """Assign images to splits and folds, and decide which of them are left out.

    A family (a cluster, or all clusters of a person) lies in one split and in one fold. Own splits
    and folds are kept; one whose family is in a stricter split, too, is left out. Images without
    their own split are dealt 80/10/10 within their source and age group, independently of others;
    a family dealt to several splits takes the strictest. Own splits without validation
    images get a tenth of the source's training images.
    """
    families = known.clusters
    if (known.persons >= 0).any():
        families = join_persons(known.clusters, known.persons)
    groups = groups_of(known.ages, Scheme.parse(config.scheme))

    def gather(rows: NDArray[np.bool_]) -> Families:
        some = np.flatnonzero(rows).astype(np.int32)
        return Families.of(some, families, groups, known.digests, config.seed)

    splits = _splits(known, families, gather)
    folds = _folds(known, families, gather, config.folds)
    usable = np.flatnonzero(families >= 0).astype(np.int32)
    reasons = np.zeros(len(families), np.int8)
    if config.conflicts == "drop":
        spans = age_spans(known.clusters[usable], known.ages[usable])
        reasons[usable[(spans > CONFLICT_YEARS) & (splits[usable] == TRAIN)]] = CONFLICT
    reasons[known.doubtful & (splits == TRAIN)] = DOUBTFUL
    strictest = _highest(families, splits, usable)[families[usable]]
    leaks = strictest > splits[usable]
    reasons[usable[leaks]] = strictest[leaks]
    return Decided(splits, folds, reasons)


def decide_fold(known: Known, fold: int, config: PrepareConfig) -> Decided:
    """Assign images to splits with one fold as test split, the rest for training and validation.

    The test fold stays complete, as in published figures: if own folds divide a family, its
    images in the others are left out.
    """
    own = np.where(known.folds == fold, TEST, TRAIN)
    return decide(replace(known, splits=own), replace(config, folds=0))


def groups_of(ages: Array, scheme: Scheme) -> Array:
    """Return the groups (N,) of labels (N, 2), in constant memory."""
    low, high = np.minimum(ages, YEARS - 1).T
    return scheme.range_groups().astype(np.int8)[low, high]


def _splits(known: Known, families: Array, gather: Gather) -> Array:
    splits = np.where(families >= 0, known.splits, -1).astype(np.int8)
    free, training = (families >= 0) & (splits < 0), splits == TRAIN
    for source in np.unique(known.sources):
        here = known.sources == source
        if (splits[here] == VAL).any():
            training &= ~here
        _deal(splits, gather(here & free), partial(hold_out, held=(TEST, VAL)))
        _deal(splits, gather(here & training), partial(hold_out, held=(VAL,)))
    settled = _settle(families, splits, free)
    splits[training & (settled[families] == VAL)] = VAL
    return splits


def _folds(known: Known, families: Array, gather: Gather, count: int) -> Array:
    folds = np.where(families >= 0, known.folds, -1).astype(np.int32)
    free = (families >= 0) & (folds < 0)
    if count:
        for source in np.unique(known.sources):
            _deal(folds, gather(free & (known.sources == source)), partial(deal_folds, count=count))
        _settle(families, folds, free)
    return folds


def _deal(places: Array, families: Families, deal: Callable[[Families], Array]) -> None:
    """Set the values (N,) of the images of some families to those dealt to the families."""
    places[families.rows] = families.per_image(deal(families))


def _settle(families: Array, places: Array, free: NDArray[np.bool_]) -> Array:
    """Set the free images (N,) to the highest value of their family, preferring values not dealt.

    Returns the value of each family.
    """
    own = _highest(families, places, np.flatnonzero((families >= 0) & ~free))
    settled = np.where(own >= 0, own, _highest(families, places, np.flatnonzero(free)))
    places[free] = settled[families[free]]
    return settled


def _highest(families: Array, places: Array, rows: Array) -> Array:
    """Return the highest value of each family among the images of rows (n,), or -1."""
    highest = np.full(families.max(initial=-1) + 1, -1, places.dtype)
    np.maximum.at(highest, families[rows], places[rows])
    return highest
