"""Run a model over a split of a prepared data set and score its answers."""

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
"""Called with the images done and the images there are."""


@dataclass(frozen=True)
class Evaluation:
    """What a model answered on a split, image by image, and how it scored."""

    name: str
    """What tables call it."""
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
    """(N, 2) labels: first and last years."""
    distribution: FloatArray
    """(N, groups) or, where it knows years, (N, YEARS), as the model answers."""
    probabilities: FloatArray
    """(N, groups)"""
    answered: FloatArray | None
    """(N,) answered ages in years, where the objective gives them."""
    scores: metrics.Scores
    """`metrics.score` of the above."""
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    """What the manifest knows of the images, (N,) each."""
    knows_years: bool = False
    temperature: float = 1.0
    """That of the weights file."""
    decision: Decision = LIKELIEST
    """That of the weights file, by which groups are answered."""
    sets: Sets | None = None
    """Those of the weights file."""
    side: float = math.inf
    """Of the faces' boxes, in pixels."""
    fold: int | None = None
    """That whose images these are; None where they are the plain split's."""
    images_per_second: float = 0.0
    """Of the model alone, on this machine."""
    left_out: int | None = None
    """Images of the split that are not scored, since a model that is compared has seen them; None
    where the model's own were not searched for."""

    @property
    def may_have_seen(self) -> bool:
        """Whether nothing proves that the images are new to the model."""
        return self.left_out is None and (not self.same_split or self.split == ALL)

    @cached_property
    def truth(self) -> IntArray:
        """(N,) true groups, NO_GROUP for gap ages."""
        return self.scheme.groups_of(self.ages)

    @cached_property
    def sure(self) -> FloatArray:
        """(N,) probabilities of the answered groups."""
        return self.probabilities[np.arange(len(self.answers)), self.answers]

    @cached_property
    def entropy(self) -> FloatArray:
        """(N,) entropies of the groups' probabilities, by which `predict --abstain` decides."""
        return entropies(self.probabilities)

    @cached_property
    def coverages(self) -> list[Coverage]:
        """How the age sets do, for each of COVERAGES; empty where there are no sets."""
        answers = Answers(
            self.distribution, self.scheme, self.knows_years, self.decision, self.sets
        )
        measure = partial(measure_coverage, answers, self.ages, self.columns, self.side)
        return [one for one in map(measure, COVERAGES) if one]

    @cached_property
    def risk(self) -> dict[str, float]:
        """What is gained by answering only where the model is surest, by the entropy."""
        known = self.truth != NO_GROUP
        return risk_figures(-self.entropy[known], (self.answers == self.truth)[known])

    @cached_property
    def errors(self) -> FloatArray:
        """(N,) errors in years; NaN where the year, or the answer, is none."""
        if self.answered is None:
            return np.full(len(self.ages), np.nan)
        return self.answered - years_of(self.ages)

    @cached_property
    def answers(self) -> IntArray:
        """(N,) answered groups."""
        return self.decision.decide(self.probabilities)

    @cached_property
    def slices(self) -> list[Slice]:
        """The scores by sex, race, source where there are several, kept columns, age group."""
        return slices(self.answers, self.ages, self.scheme, self.columns)

    @property
    def worst_slice(self) -> Slice | None:
        """The slice with the lowest exact accuracy."""
        return worst_slice(self.slices)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of exact and 1-off accuracy, by the bootstrap."""
        error = np.abs(self.answers - self.truth)[self.truth != NO_GROUP]
        return {
            "exact": bootstrap_interval(error == 0), "one_off": bootstrap_interval(error <= 1)
        }  # fmt: skip

    @cached_property
    def ece_raw(self) -> float:
        """The calibration error at temperature 1; that of the scores is at the file's own."""
        known = self.truth != NO_GROUP
        plain = rescale(self.distribution, 1 / self.temperature)
        raw = Answers(plain, self.scheme, self.knows_years).groups
        return metrics.calibration_error(raw[known], self.truth[known])

    @property
    def bytes(self) -> int | None:
        """The size of the weights file."""
        return self.weights.stat().st_size if self.weights else None

    def metrics(self) -> dict[str, Any]:
        """Return the scores and slices as they stand in a weights file."""
        return self.scores.plain() | {"slices": [asdict(part) for part in self.slices]}

    def summary(self) -> dict[str, Any]:
        """Return what was evaluated on what, and all figures, as plain values for JSON."""
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
    """Return the rows (N,) of a split that are not excluded and have a group in all models.

    Raises DataError where there is none.
    """
    rows = dataset.rows(split)
    groups = [model.scheme.groups_of(dataset.ages[rows]) for model in models]
    known = np.all([group != NO_GROUP for group in groups], axis=0)
    if not known.any():
        labels = dict.fromkeys(label for model in models for label in model.scheme.labels)
        raise DataError(
            f"No image of {name_split(split)} of {dataset.folder} is in the groups "
            f"{', '.join(labels)}: give another --split or --data"
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
    """Score a model on the images of a split that are not excluded.

    flip: average the answers for each image and its mirror image. change: what becomes of the
    images before. parallel: all processes of a
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
    """Return what tells the images of rows (N,) apart, (N,) each; sources where there are some, and
    the columns that `agecli prepare --slices` kept."""
    columns = {"sex": dataset.sexes[rows], "race": dataset.races[rows]}
    sources = dataset.sources[rows]
    if len(np.unique(sources)) > 1:
        columns["source"] = sources
    return columns | {name: values[rows] for name, values in dataset.slices.items()}
