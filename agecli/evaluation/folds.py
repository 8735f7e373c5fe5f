"""Cross-validation: each model on the fold that it did not see, and their mean over folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError, UsageError
from agecli.evaluation.scoring import Evaluation
from agecli.metadata import Metadata

FIGURES = ("exact", "one_off", "macro_f1", "kappa", "mae", "cs5", "nearest", "ece")


@dataclass(frozen=True)
class Spread:
    """A figure over folds."""

    mean: float
    sd: float
    """Standard deviation of a sample, whose divisor is one less than the folds (n - 1)."""


@dataclass(frozen=True)
class Folds:
    """What the runs of one model have reached, each on its own fold's images."""

    model: str
    """Its title."""
    folds: list[int]
    figures: dict[str, Spread]
    """By the names of `metrics.Scores`, those that all runs have."""


def dataset_of(metadata: Metadata, dataset: Dataset) -> Dataset:
    """Return a data set as weights were trained on it: by their fold, where this is that data."""
    fold = metadata.training.get("config", {}).get("fold")
    if fold is None or metadata.split_hash == dataset.split_hash:
        return dataset
    try:
        own = open_dataset(dataset.folder, fold)
    except DataError:  # it has no such fold: another data set
        return dataset
    return own if own.split_hash == metadata.split_hash else dataset


def check_same_images(option: str, datasets: Sequence[Dataset]) -> None:
    """Raise UsageError where models of several folds have no images in common for an option."""
    if len({dataset.fold for dataset in datasets}) > 1:
        raise UsageError(f"{option}: models of several folds share no images: give those of one")


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
