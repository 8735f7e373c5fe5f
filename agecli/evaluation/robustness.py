"""Robustness: a model's accuracy on the same images, clean and perturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli import distributed
from agecli.ages import FloatArray, IntArray
from agecli.config import FLIP, TrainConfig
from agecli.evaluation.perturbations import PERTURBATIONS, middle, perturb, surround
from agecli.evaluation.scoring import ImageProgress, face_side, known_rows
from agecli.evaluation.significance import bootstrap_interval
from agecli.faces import align as upright
from agecli.faces import crop, detect
from agecli.sets import COVERAGE

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.inference.model import Model

Align = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Aligns the faces of images: uint8 (N, 2S, 2S, 3) to (N, S, S, 3)."""

CLEAN = "clean"
WAYS = ("perturbed", "aligned")
"""Prefixes of the figures without and with alignment."""


@dataclass(frozen=True)
class Score:
    """A model's accuracy on the images in one condition."""

    perturbation: str
    """The perturbation, or CLEAN."""
    strength: str
    aligned: bool
    """Whether faces were detected and aligned."""
    exact: float
    one_off: float
    difference: float
    """Difference of exact accuracy from the clean, unaligned images."""
    interval: tuple[float, float]
    """95 % interval of the difference, by the bootstrap over the images."""
    coverage: float | None = None
    """Coverage of the true group by the sets for COVERAGE; None without sets."""

    @property
    def condition(self) -> str:
        """Return the perturbation and its strength."""
        return f"{self.perturbation} {self.strength}".strip()


@dataclass(frozen=True)
class Robustness:
    """A model's scores in all conditions, on n images; those of aligned faces come last."""

    n: int
    split: str
    scores: list[Score]

    def ways(self) -> list[list[Score]]:
        """Return the scores without alignment and, if there are any, those with it."""
        ways = [[s for s in self.scores if s.aligned == aligned] for aligned in (False, True)]
        return [way for way in ways if way]

    def figures(self) -> dict[str, float]:
        """Return the means over all perturbations, for gates, with their prefixes."""
        found = {}
        for scores in self.ways():
            name = WAYS[scores[0].aligned]
            perturbed = [score for score in scores if score.perturbation != CLEAN]
            found[f"{name}_exact"] = mean(score.exact for score in perturbed)
            covered = [score.coverage for score in perturbed if score.coverage is not None]
            if covered:
                found[f"{name}_coverage{100 * COVERAGE:g}"] = mean(covered)
        return found

    def plain(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON."""
        names = {"perturbation": "disturbance"}  # the key that scripts know
        scores = [
            {names.get(key, key): value for key, value in asdict(score).items()}
            for score in self.scores
        ]
        return {"n": self.n, "split": self.split, "scores": scores, **self.figures()}

    def brief(self) -> dict[str, Any]:
        """Return exact accuracies, and coverages, for a weights file's metadata."""
        names = ("as they are", "aligned")
        kept: dict[str, Any] = {"n": self.n, "exact": {}, "coverage": {}}
        for scores in self.ways():
            way = names[scores[0].aligned]
            kept["exact"][way] = {score.condition: round(score.exact, 4) for score in scores}
            covered = {s.condition: round(s.coverage, 4) for s in scores if s.coverage is not None}
            if covered:
                kept["coverage"][way] = covered
        return {key: value for key, value in kept.items() if value}


def conditions() -> list[tuple[str, str]]:
    """List perturbations and strengths, the clean images first."""
    return [(CLEAN, ""), *((d.name, strength) for d in PERTURBATIONS for strength in d.strengths)]


def align_pictures(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop the face of each image (N, 2S, 2S, 3) by its landmarks, to (N, S, S, 3).

    Without a detection, the middle is cropped as it is.
    """
    chips = middle(pictures).copy()
    for number, picture in enumerate(map(Image.fromarray, pictures)):
        if faces := detect(picture):
            chips[number] = crop(picture, upright(faces[0]), chips.shape[1])
    return chips


def measure_robustness(
    models: Sequence[Model],
    dataset: Dataset,
    split: str = "test",
    *,
    align: Align | None = None,
    flip: bool = FLIP,
    batch_size: int = TrainConfig.batch_size,
    parallel: bool = False,
    progress: ImageProgress = lambda done, total: None,
) -> list[Robustness]:
    """Score models on a split's images with a group in all of them, in every condition.

    align: also score images aligned by it. parallel: all processes of a launch call this,
    and divide the images. Raises DataError if no image has a group.
    """
    rank, world = (distributed.rank(), distributed.world()) if parallel else (0, 1)
    rows = known_rows(models, dataset, split)[rank::world]
    judge = partial(_judge, models, side=face_side(dataset), flip=flip)
    total = len(rows) * len(conditions())
    progress(0, total)
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        clean = surround(np.take(dataset.images, batch, axis=0))
        judged = []
        for number, perturbed in enumerate(_perturbed(clean, batch), 1):
            views = [middle(perturbed), *([align(perturbed)] if align else [])]
            judged.append([judge(view, dataset.ages[batch]) for view in views])
            progress(start * len(conditions()) + number * len(batch), total)
        parts.append(np.array(judged))  # (conditions, ways, models, 2, B)
    if parallel:
        parts = [part for process in distributed.gather(parts) for part in process]
    whole = np.concatenate(parts, axis=4)
    n = whole.shape[4]
    return [Robustness(n, split, [*_scores(whole[:, :, own])]) for own in range(len(models))]


def _perturbed(clean: NDArray[np.uint8], rows: IntArray) -> Iterator[NDArray[np.uint8]]:
    """Yield the images in each of the conditions."""
    yield clean
    for perturbation in PERTURBATIONS:
        for strength in perturbation.strengths:
            yield perturb(clean, rows, perturbation, strength)


def _judge(
    models: Sequence[Model], images: NDArray[np.uint8], ages: IntArray, *, side: float, flip: bool
) -> list[FloatArray]:
    """Return each model's errors in groups, and whether its set is right, (2, B) each.

    side: of the faces' boxes in pixels, before perturbation. A set is right if it contains
    the true group; NaN for a model without sets.
    """
    judged = []
    for model in models:
        answers = model.answer(images, flip, len(images))
        truth = model.scheme.groups_of(ages)
        held = np.full(len(images), np.nan)
        if limits := answers.limits(side):
            first, last = limits.groups.T
            held = (first <= truth) & (truth <= last)
        judged.append(np.stack([np.abs(answers.decided - truth), held]))
    return judged


def _scores(judged: FloatArray) -> Iterator[Score]:
    """Score one model. judged: (conditions, ways, 2, N), as from `_judge`."""
    errors, held = np.moveaxis(judged, 2, 0)  # (conditions, ways, N) each
    right = (errors == 0).astype(np.float64)
    for way in range(errors.shape[1]):
        for place, (perturbation, strength) in enumerate(conditions()):
            change = right[place, way] - right[0, 0]
            yield Score(
                perturbation, strength, bool(way), exact=float(right[place, way].mean()),
                one_off=float((errors[place, way] <= 1).mean()),
                difference=float(change.mean()), interval=bootstrap_interval(change),
                coverage=None if np.isnan(held).any() else float(held[place, way].mean()),
            )  # fmt: skip
