"""Cross-validation: each model on the fold that it has not seen, and means over folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError, UsageError
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.seen import leave_out_seen
from agecli.metadata import Metadata
from agecli.weights import read_metadata

FIGURES = ("exact", "one_off", "macro_f1", "kappa", "mae", "cs5", "nearest", "ece")


@dataclass(frozen=True)
class Spread:
    """A figure over folds."""

    mean: float
    sd: float
    """Sample standard deviation, with divisor n - 1."""


@dataclass(frozen=True)
class Folds:
    """Scores of one model's runs, each on its own fold's images."""

    model: str
    """The model's title."""
    folds: list[int]
    figures: dict[str, Spread]
    """By the names of `metrics.Scores`, those common to all runs."""


def dataset_of(metadata: Metadata, dataset: Dataset) -> Dataset:
    """Return a data set with the split that weights were trained on: their fold, if it has it."""
    config = metadata.training.get("config", {})
    fold, within = config.get("fold"), config.get("within_train") is True
    if fold is None or metadata.split_hash == dataset.split_hash:
        return dataset
    try:
        own = open_dataset(dataset.folder, fold, within_train=within)
    except DataError:  # no such fold: another data set
        return dataset
    return own if own.split_hash == metadata.split_hash else dataset


class New(NamedTuple):
    """The images that are new to a model."""

    dataset: Dataset
    """The data set with its split, without the images it has seen."""
    left_out: int | None
    """Images that it, or another model of its fold, has seen; None if nothing was searched."""
    searched: bool
    """Whether its fingerprints were searched; otherwise the split proves it, or nothing does."""


def new_images(
    paths: Sequence[Path], dataset: Dataset, split: str, *, force: bool = False
) -> list[New]:
    """Return for each model the images of a split that are new to it and to all of its fold.

    All processes of a launch call this. Raises the errors of `leave_out_seen`.
    """
    own = [dataset_of(read_metadata(path), dataset) for path in paths]
    found: dict[int, New] = {}
    for fold in dict.fromkeys(each.fold for each in own):
        places = [place for place, each in enumerate(own) if each.fold == fold]
        if len({own[place].split_hash for place in places}) > 1:
            raise UsageError(
                f"Runs of --fold {fold} with --within-train and without share no images: evaluate "
                "them separately"
            )
        alike = [paths[place] for place in places]
        unseen = leave_out_seen(alike, own[places[0]], split, force=force)
        for place, searched in zip(places, unseen.searched, strict=True):
            found[place] = New(unseen.dataset, unseen.left_out, searched)
    return [found[place] for place in range(len(paths))]


def check_same_images(option: str, images: Sequence[New]) -> None:
    """Raise UsageError if models of several folds have no common images for an option."""
    if len({new.dataset.fold for new in images}) > 1:
        raise UsageError(f"{option}: models of several folds share no images: pass those of one")


def spread_over_folds(results: Sequence[Evaluation]) -> list[Folds]:
    """Compute the mean and standard deviation over the folds of each model that has several."""
    by_title: dict[str, list[Evaluation]] = {}
    for result in results:
        if result.fold is not None:
            by_title.setdefault(result.title, []).append(result)
    return [
        _spread(title, sorted(rows, key=lambda row: row.fold or 0))
        for title, rows in by_title.items()
        if len({row.fold for row in rows}) == len(rows) > 1
    ]


def _spread(title: str, rows: Sequence[Evaluation]) -> Folds:
    figures = {}
    for name in FIGURES:
        values = [getattr(row.scores, name) for row in rows]
        if None not in values:
            figures[name] = Spread(fmean(values), stdev(values))
    return Folds(title, [row.fold for row in rows if row.fold is not None], figures)
