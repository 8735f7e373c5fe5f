"""Run a model over a split of a prepared data set and score its predictions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agecli import distributed
from agecli.ages import NO_GROUP, Answers, FloatArray, IntArray, Scheme, years_of
from agecli.config import FACE_MARGIN, FLIP, TrainConfig
from agecli.data.store import ALL, name_split
from agecli.decision import LIKELIEST, Decision
from agecli.errors import DataError
from agecli.evaluation import metrics
from agecli.evaluation.calibration import rescale
from agecli.evaluation.coverage import Coverage, measure_coverage, risk_figures
from agecli.evaluation.perturbations import Change
from agecli.evaluation.significance import Slice, bootstrap_interval, slices, worst_slice
from agecli.sets import COVERAGES, Sets, entropies

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.inference.model import Model

ImageProgress = Callable[[int, int], None]
"""Called with the number of images done and in all."""


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions on a split, image by image, and its scores."""

    name: str
    """The model's name in tables."""
    model: str
    title: str
    """The model in words."""
    weights: Path | None
    data: Path
    split: str
    flip: bool
    same_split: bool
    """Whether the model was trained on this very split, so that its test images are new to it."""
    scheme: Scheme
    rows: IntArray
    """(N,) rows of the data set; the arrays below follow their order."""
    ages: IntArray
    """(N, 2) labels: first and last years."""
    distribution: FloatArray
    """(N, groups) or, for a model of years, (N, YEARS), as predicted."""
    probabilities: FloatArray
    """(N, groups)"""
    answered: FloatArray | None
    """(N,) predicted ages in years, if the model predicts them."""
    scores: metrics.Scores
    """`metrics.score` of the above."""
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    """Columns of the manifest, (N,) each."""
    knows_years: bool = False
    temperature: float = 1.0
    """The weights file's."""
    decision: Decision = LIKELIEST
    """The weights file's decision rule."""
    sets: Sets | None = None
    """The weights file's age sets."""
    side: float = math.inf
    """Side of the faces' boxes, in pixels."""
    fold: int | None = None
    """The fold that the images belong to; None for the plain split."""
    images_per_second: float = 0.0
    """Rate of the model itself, on this machine."""
    left_out: int | None = None
    """Images of the split left out since one of the compared models has seen them; None
    if the model's own were not searched for."""

    @property
    def may_have_seen(self) -> bool:
        """Return whether nothing proves that the images are new to the model."""
        return self.left_out is None and (not self.same_split or self.split == ALL)

    @cached_property
    def truth(self) -> IntArray:
        """Return the true groups (N,), NO_GROUP for gap ages."""
        return self.scheme.groups_of(self.ages)

    @cached_property
    def sure(self) -> FloatArray:
        """Return the probabilities (N,) of the predicted groups."""
        return self.probabilities[np.arange(len(self.answers)), self.answers]

    @cached_property
    def entropy(self) -> FloatArray:
        """(N,) entropies of the groups' probabilities, by which `predict --abstain` decides."""
        return entropies(self.probabilities)

    @cached_property
    def coverages(self) -> list[Coverage]:
        """Return the age sets' coverage and size, for each of COVERAGES; empty without sets."""
        answers = Answers(
            self.distribution, self.scheme, self.knows_years, self.decision, self.sets
        )
        measure = partial(measure_coverage, answers, self.ages, self.columns, self.side)
        return [one for one in map(measure, COVERAGES) if one]

    @cached_property
    def risk(self) -> dict[str, float]:
        """Return the gain from abstaining where the model is uncertain, by entropy."""
        known = self.truth != NO_GROUP
        return risk_figures(-self.entropy[known], (self.answers == self.truth)[known])

    @cached_property
    def errors(self) -> FloatArray:
        """Return the errors in years (N,); NaN without a year or a predicted age."""
        if self.answered is None:
            return np.full(len(self.ages), np.nan)
        return self.answered - years_of(self.ages)

    @cached_property
    def answers(self) -> IntArray:
        """Return the predicted groups (N,)."""
        return self.decision.decide(self.probabilities)

    @cached_property
    def slices(self) -> list[Slice]:
        """Return the scores by sex, race, source if there are several, kept columns, age group."""
        return slices(self.answers, self.ages, self.scheme, self.columns)

    @property
    def worst_slice(self) -> Slice | None:
        """Return the slice with the lowest exact accuracy."""
        return worst_slice(self.slices)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % intervals of exact and 1-off accuracy, by the bootstrap."""
        error = np.abs(self.answers - self.truth)[self.truth != NO_GROUP]
        return {
            "exact": bootstrap_interval(error == 0), "one_off": bootstrap_interval(error <= 1)
        }  # fmt: skip

    @cached_property
    def ece_raw(self) -> float:
        """Return the calibration error at temperature 1; the scores' is at the file's own."""
        known = self.truth != NO_GROUP
        plain = rescale(self.distribution, 1 / self.temperature)
        raw = Answers(plain, self.scheme, self.knows_years).groups
        return metrics.calibration_error(raw[known], self.truth[known])

    @property
    def bytes(self) -> int | None:
        """Return the size of the weights file."""
        return self.weights.stat().st_size if self.weights else None

    def metrics(self) -> dict[str, Any]:
        """Return the scores and slices as stored in a weights file."""
        return self.scores.plain() | {"slices": [asdict(part) for part in self.slices]}

    def summary(self) -> dict[str, Any]:
        """Return the model, the data and all figures as plain values for JSON."""
        return {
            "name": self.name,
            "weights": self.weights and str(self.weights),
            "model": self.model,
            "title": self.title,
            "data": str(self.data),
            "split": self.split,
            **({} if self.fold is None else {"fold": self.fold}),
            "same_split": self.same_split,
            "left_out": self.left_out,
            "may_have_seen": self.may_have_seen,
            "flip": self.flip,
            **self.scores.plain(),
            "bootstrap": self.intervals,
            "temperature": self.temperature,
            "decision": asdict(self.decision) | {"shares": list(self.decision.shares)},
            "ece_raw": self.ece_raw,
            **self.risk,
            **{name: value for one in self.coverages for name, value in one.figures().items()},
            "coverages": [one.plain() for one in self.coverages],
            "images_per_second": self.images_per_second,
            "bytes": self.bytes,
            "slices": [asdict(part) for part in self.slices],
            "worst_slice": self.worst_slice and asdict(self.worst_slice),
        }


def known_rows(models: Sequence[Model], dataset: Dataset, split: str) -> IntArray:
    """Return the rows (N,) of a split that are used and have a group in all models.

    Raises DataError if there is none.
    """
    rows = dataset.rows(split)
    groups = [model.scheme.groups_of(dataset.ages[rows]) for model in models]
    known = np.all([group != NO_GROUP for group in groups], axis=0)
    if not known.any():
        labels = dict.fromkeys(label for model in models for label in model.scheme.labels)
        raise DataError(
            f"No image of {name_split(split)} of {dataset.folder} is in the groups "
            f"{', '.join(labels)}: choose another --split or --data"
        )
    return rows[known]


def face_side(dataset: Dataset) -> float:
    """Return the side of the faces' boxes in a data set's chips, in pixels."""
    return dataset.images.shape[1] / (1 + 2 * FACE_MARGIN)


def evaluate_model(
    model: Model,
    dataset: Dataset,
    split: str = "test",
    *,
    flip: bool = FLIP,
    batch_size: int = TrainConfig.batch_size,
    parallel: bool = False,
    change: Change = lambda images, rows: images,
    progress: ImageProgress = lambda done, total: None,
) -> Evaluation:
    """Score a model on the images of a split that are used.

    flip: average the predictions for each image and its mirror image. change: a function applied
    to the images first. parallel: all processes of a
    launch call this, and take the batches in turn. Raises DataError if no image
    of the split has an age in one of the model's groups, WeightsError for predictions that are NaN.
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
        images = change(np.take(dataset.images, batch, axis=0), batch)
        answers[start] = model.distributions(images, flip=flip)
        progress(min(start + world * batch_size, len(rows)), len(rows))
    if parallel:
        answers = dict(part for process in distributed.gather(answers) for part in process.items())
    seconds = time.monotonic() - began
    read = model.interpret(np.concatenate([answers[start] for start in sorted(answers)]))
    return Evaluation(
        name=model.metadata.model,
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
        scores=metrics.score(read.groups, ages, model.scheme, read.ages, read.decided),
        columns=_columns(dataset, rows),
        knows_years=model.metadata.knows_years,
        temperature=model.metadata.temperature,
        decision=model.metadata.decision,
        sets=model.metadata.sets,
        side=face_side(dataset),
        fold=dataset.fold,
        images_per_second=len(rows) / max(seconds, 1e-9),
    )


def _columns(dataset: Dataset, rows: IntArray) -> dict[str, NDArray[np.str_]]:
    """Return the columns (N,) by which images of rows (N,) are divided: sources if several, and
    the columns that `agecli prepare --slices` kept."""
    columns = {"sex": dataset.sexes[rows], "race": dataset.races[rows]}
    sources = dataset.sources[rows]
    if len(np.unique(sources)) > 1:
        columns["source"] = sources
    return columns | {name: values[rows] for name, values in dataset.slices.items()}
