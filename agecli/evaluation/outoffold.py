"""Out-of-fold predictions: each image's by the model of a cross-validation that has not seen it.

They reveal doubtful labels, and are soft labels that are independent of the label itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, YEARS, Age, Answers, FloatArray, IntArray, Scheme
from agecli.data.seen import Seen, fingerprints_of
from agecli.data.softlabels import OF_YEARS
from agecli.data.store import Dataset, open_dataset
from agecli.errors import UsageError
from agecli.evaluation.folds import dataset_of
from agecli.evaluation.scoring import Evaluation
from agecli.files import write_text
from agecli.weights import named_weights, read_fingerprints, read_metadata

OPTION = "--out-of-fold"
FACTS = ("split_hash", "label", "group", "answered_age", "answered_group", "disagreement")
"""The columns between an image's name and its distribution."""
MOST_DOUBTFUL = 20
"""Most labels shown in tables."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for M images by models that have not seen them, the most doubtful label first."""

    dataset: Dataset
    rows: IntArray
    """(M,) rows of the data set."""
    answers: Answers
    split_hashes: NDArray[np.str_]
    """(M,) hash of the split whose validation and test images the model has not seen."""
    seen: int
    """Images left out, since the fingerprints of a fold's model contain them or near copies."""

    @property
    def missing(self) -> int:
        """Return the number of images with a fold that no model has predicted."""
        with_fold = (self.dataset.folds >= 0) & (self.dataset.splits != "")
        return int(with_fold.sum()) - len(self.rows)

    @property
    def teaches(self) -> bool:
        """Return whether trainings on the data set's plain split may learn the predictions."""
        return bool((self.split_hashes == self.dataset.receipt.split_hash).all())

    @cached_property
    def agreement(self) -> FloatArray:
        """Return the probability (M,) of the groups that the label allows."""
        return label_shares(self.answers, self.dataset.ages[self.rows])

    @cached_property
    def groups(self) -> IntArray:
        """Return the groups (M,) of the labels, NO_GROUP for gap ages."""
        return self.answers.scheme.groups_of(self.dataset.ages[self.rows])

    @property
    def columns(self) -> list[str]:
        """Return the columns of the file."""
        named = ["id", "source"] if len(np.unique(self.dataset.sources)) > 1 else ["id"]
        of = OF_YEARS if self.answers.knows_years else self.answers.scheme.labels
        return [*named, *FACTS, *of]

    def fact(self, place: int) -> dict[str, Any]:
        """Return the facts about one of the M images as plain values."""
        row, group = self.rows[place], self.groups[place]
        labels, ages = self.answers.scheme.labels, self.answers.ages
        return {
            "id": str(self.dataset.ids[row]),
            "source": str(self.dataset.sources[row]),
            "split_hash": str(self.split_hashes[place]),
            "label": str(Age(*self.dataset.ages[row].tolist())),
            "group": "" if group == NO_GROUP else labels[group],
            "answered_age": "" if ages is None else round(float(ages[place]), 1),
            "answered_group": labels[self.answers.decided[place]],
            "disagreement": round(1 - float(self.agreement[place]), 4),
        }

    def doubtful(self) -> list[dict[str, Any]]:
        """Return the facts of the most doubtful labels."""
        return [self.fact(place) for place in range(min(MOST_DOUBTFUL, len(self.rows)))]

    def plain(self) -> dict[str, Any]:
        """Return the counts and the most doubtful labels as plain values for JSON."""
        counts = {"images": len(self.rows), "missing": self.missing, "seen": self.seen}
        return counts | {"teaches": self.teaches, "doubtful": self.doubtful()}

    def write(self, path: Path) -> None:
        """Write a CSV file for --soft-labels, a row per image."""
        text, columns = io.StringIO(), self.columns
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        named = columns[: columns.index(FACTS[-1]) + 1]
        for place, chances in enumerate(self.answers.distribution):
            fact = self.fact(place)
            writer.writerow([*(fact[name] for name in named), *(f"{p:.5g}" for p in chances)])
        write_text(path, text.getvalue())


def describe(answers: OutOfFold) -> str:
    """Summarise in a line how many images have a prediction, and what it may be used for."""
    text = f"predictions for {len(answers.rows):,} images"
    if answers.missing:
        text += f"; {answers.missing:,} have none from a model that has not seen them"
    if not answers.teaches:
        text += (
            "; --soft-labels rejects them, since the models have seen test images of other folds: "
            "`agecli train --fold K --within-train` trains models that have not"
        )
    return text


def check_folds(weights: Sequence[Path | str], data: Sequence[Path | str], split: str) -> None:
    """Raise UsageError for models without out-of-fold predictions, before they run."""
    if len(data) > 1 or split != "test":
        raise UsageError(f"{OPTION}: pass one --data, and leave out --split: folds have their own")
    dataset = open_dataset(Path(data[0]))
    for path in named_weights(*weights):
        if dataset_of(read_metadata(path), dataset).fold is None:
            raise UsageError(
                f"{OPTION}: {path} is not a run of `agecli train --fold` on {dataset.folder}: it "
                "may have seen every image"
            )


def gather(models: Sequence[Evaluation], dataset: Dataset) -> OutOfFold:
    """Combine the predictions of the models of all folds; of several for a fold, the mean.

    Each has predicted its own fold, as its split hash proves; images that its fingerprints contain
    nevertheless are left out. Raises UsageError for models of years among models of groups.
    """
    first = models[0]
    if len({(model.knows_years, model.scheme) for model in models}) > 1:
        raise UsageError(f"{OPTION}: some predict years and some groups: pass models of one kind")
    total = np.zeros((len(dataset.ids), first.distribution.shape[1]))
    count = np.zeros(len(dataset.ids), np.int64)
    hashes, seen = np.full(len(dataset.ids), "", "U64"), np.zeros(len(dataset.ids), bool)
    for model in models:
        new = ~_knows(model, dataset)
        rows = model.rows[new]
        total[rows] += model.distribution[new]
        count[rows] += 1
        hashes[rows] = _judged(model, dataset)
        seen[model.rows[~new]] = True
    rows = np.flatnonzero((count > 0) & ~seen)
    means = (total[rows] / count[rows, None]).astype(np.float32)
    doubt = label_shares(Answers(means, first.scheme, first.knows_years), dataset.ages[rows])
    order = np.argsort(doubt, kind="stable")
    answers = Answers(means[order], first.scheme, first.knows_years)
    return OutOfFold(dataset, rows[order], answers, hashes[rows[order]], int(seen.sum()))


def _knows(model: Evaluation, dataset: Dataset) -> NDArray[np.bool_]:
    """Return the mask (n,) of a model's images that its fingerprints contain."""
    prints = read_fingerprints(model.weights) if model.weights else None
    if prints is None:
        return np.zeros(len(model.rows), bool)
    return Seen(prints).knows(fingerprints_of(dataset, model.rows))


def _judged(model: Evaluation, dataset: Dataset) -> str:
    """Return the hash of the split whose validation and test images a fold's model has not seen.

    Within the training split, it is the plain one; otherwise its own, and no other training's.
    """
    assert model.weights is not None
    metadata = read_metadata(model.weights)
    within = metadata.training["config"].get("within_train") is True
    return dataset.receipt.split_hash if within else metadata.split_hash


def label_shares(answers: Answers, ages: IntArray) -> FloatArray:
    """Return the probabilities (N,) of the groups that labels (N, 2) allow.

    These are the groups that contain some of a label's years; for a gap age, those on both sides.
    """
    allowed = allowed_groups(answers.scheme, ages)
    return (answers.groups * allowed).sum(axis=1)


def allowed_groups(scheme: Scheme, ages: IntArray) -> NDArray[np.bool_]:
    """Return the mask (N, groups) of groups that labels (N, 2) allow."""
    inside = scheme.years_inside(ages) > 0  # (N, groups)
    ends, low = np.array(scheme.bounds)[:, 1], np.minimum(ages[:, :1], YEARS - 1)
    above = (ends < low).sum(axis=1, keepdims=True)  # (N, 1), the first that does not end before
    places = np.arange(len(scheme))
    beside = (places == above - 1) | (places == above)
    return np.where(inside.any(axis=1, keepdims=True), inside, beside)
