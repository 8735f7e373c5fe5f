"""Run a model over a split of a prepared data set and score it, as users' pictures are answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agecli import distributed
from agecli.ages import NO_GROUP, FloatArray, IntArray, Scheme
from agecli.config import FLIP, TrainConfig
from agecli.errors import DataError
from agecli.evaluation import metrics
from agecli.evaluation.significance import slices

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.inference.model import Model

Progress = Callable[[int, int], None]
"""Called with the images done and the images there are."""


@dataclass(frozen=True)
class Evaluation:
    """What a model answered on a split, image by image, and how it scored."""

    model: str
    title: str
    """The model in words."""
    weights: Path | None
    data: Path
    split: str
    flip: bool
    same_split: bool
    """The model was trained on this very split, so that its test images are new to it."""
    scheme: Scheme
    rows: IntArray
    """(N,) rows of the data set; the arrays below follow their order."""
    ages: IntArray
    """(N,) labels in years."""
    distribution: FloatArray
    """(N, groups) or, where it knows years, (N, YEARS), as the model answers."""
    probabilities: FloatArray
    """(N, groups)"""
    answered: FloatArray | None
    """(N,) answered ages in years, where the objective gives them."""
    scores: dict[str, Any]
    """`metrics.score` of the above."""
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    """What the manifest knows of the images, (N,) each."""
    knows_years: bool = False
    temperature: float = 1.0
    """That of the weights file."""
    images_per_second: float = 0.0
    """Of the model alone, on this machine."""

    def slices(self) -> list[dict[str, Any]]:
        """Score the images by sex, race and age group, as `compare.slices` does."""
        return slices(self.probabilities.argmax(axis=1), self.ages, self.scheme, self.columns)

    def summary(self) -> dict[str, Any]:
        """Return what was evaluated on what, and the scores, as plain values for JSON."""
        return {
            "weights": self.weights and str(self.weights),
            "model": self.model,
            "title": self.title,
            "data": str(self.data),
            "split": self.split,
            "same_split": self.same_split,
            "flip": self.flip,
            **self.scores,
        }


def known_rows(models: Sequence[Model], dataset: Dataset, split: str) -> IntArray:
    """Return the rows of a split that are not excluded and have a group in all models.

    Raises DataError where there is none.
    """
    rows = dataset.rows(split)
    groups = [model.scheme.groups_of(dataset.ages[rows]) for model in models]
    known = np.all([group != NO_GROUP for group in groups], axis=0)
    if not known.any():
        labels = dict.fromkeys(label for model in models for label in model.scheme.labels)
        raise DataError(
            f"The {split} split of {dataset.folder} has no image in the groups "
            f"{', '.join(labels)}: give another --split or --data"
        )
    return rows[known]


def evaluate_model(
    model: Model,
    dataset: Dataset,
    split: str = "test",
    *,
    flip: bool = FLIP,
    batch_size: int = TrainConfig.batch_size,
    parallel: bool = False,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Score a model on the images of a split that are not excluded.

    flip: average the answers for each image and its mirror image. parallel: all processes of a
    launch call this, and take turns at the batches. Raises DataError where no image
    of the split has an age in one of the model's groups, WeightsError where the answers are NaN.
    """
    rows = dataset.rows(split)
    ages = dataset.ages[rows]
    known_rows([model], dataset, split)
    rank, world = (distributed.rank(), distributed.world()) if parallel else (0, 1)
    answers = {}
    progress(0, len(rows))
    began = time.monotonic()
    for start in range(rank * batch_size, len(rows), world * batch_size):
        batch = rows[start : start + batch_size]
        answers[start] = model.distributions(np.take(dataset.images, batch, axis=0), flip=flip)
        progress(min(start + world * batch_size, len(rows)), len(rows))
    if parallel:
        answers = dict(part for process in distributed.gather(answers) for part in process.items())
    seconds = time.monotonic() - began
    read = model.answers(np.concatenate([answers[start] for start in sorted(answers)]))
    return Evaluation(
        model=model.metadata.model,
        title=model.metadata.title or model.metadata.model,
        weights=model.path,
        data=dataset.folder,
        split=split,
        flip=flip,
        same_split=model.metadata.split_hash == dataset.split_hash,
        scheme=model.scheme,
        rows=rows,
        ages=ages,
        distribution=read.distribution,
        probabilities=read.groups,
        answered=read.ages,
        scores=metrics.score(read.groups, ages, model.scheme, read.ages),
        columns={"sex": dataset.sexes[rows], "race": dataset.races[rows]},
        knows_years=model.metadata.knows_years,
        temperature=model.metadata.temperature,
        images_per_second=len(rows) / max(seconds, 1e-9),
    )
