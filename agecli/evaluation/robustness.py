"""What disturbed pictures cost a model: the same test images, clean and disturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli import distributed
from agecli.ages import IntArray
from agecli.config import FLIP, TrainConfig
from agecli.evaluation.perturbations import DISTURBANCES, disturb, middle, surround
from agecli.evaluation.scoring import Progress, known_rows
from agecli.evaluation.significance import bootstrap_interval
from agecli.faces import align as upright
from agecli.faces import crop, detect

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.inference.model import Model

Align = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Sets the faces of pictures upright and centred: uint8 (N, 2S, 2S, 3) to (N, S, S, 3)."""

CLEAN = "clean"


@dataclass(frozen=True)
class Score:
    """How right a model is on the images in one condition."""

    disturbance: str
    """Or CLEAN."""
    strength: str
    aligned: bool
    """Faces were detected, and set by their points."""
    exact: float
    one_off: float
    difference: float
    """Of exact accuracy, to the clean images as they are."""
    interval: tuple[float, float]
    """95 % of the difference, by the bootstrap over the images."""


@dataclass(frozen=True)
class Robustness:
    """A model's scores in all conditions, on n images; those of aligned faces come last."""

    n: int
    split: str
    scores: list[Score]

    def ways(self) -> list[list[Score]]:
        """Return the scores as they are and, where there are any, those of aligned faces."""
        ways = [[s for s in self.scores if s.aligned == aligned] for aligned in (False, True)]
        return [way for way in ways if way]

    def brief(self) -> dict[str, Any]:
        """Return the exact accuracies for a weights file's metadata."""
        names = ("as they are", "aligned")
        figures = {
            names[scores[0].aligned]: {
                f"{s.disturbance} {s.strength}".strip(): round(s.exact, 4) for s in scores
            }
            for scores in self.ways()
        }
        return {"n": self.n, "exact": figures}


def conditions() -> list[tuple[str, str]]:
    """List disturbances and strengths, the clean images first."""
    return [(CLEAN, ""), *((d.name, strength) for d in DISTURBANCES for strength in d.strengths)]


def align_pictures(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop the face of each picture (N, 2S, 2S, 3) by its points, to (N, S, S, 3).

    Where none is detected, the middle is taken as it is.
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
    progress: Progress = lambda done, total: None,
) -> list[Robustness]:
    """Score models on a split's images that have a group in all of them, in every condition.

    align: score them once more, set upright by it. parallel: all processes of a launch call this,
    and share the images. Raises DataError where no image has a group.
    """
    rank, world = (distributed.rank(), distributed.world()) if parallel else (0, 1)
    rows = known_rows(models, dataset, split)[rank::world]
    total = len(rows) * len(conditions())
    progress(0, total)
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        clean = surround(np.take(dataset.images, batch, axis=0))
        errors = []
        for number, disturbed in enumerate(_disturbed(clean, batch), 1):
            views = [middle(disturbed), *([align(disturbed)] if align else [])]
            errors.append([_errors(models, view, dataset.ages[batch], flip) for view in views])
            progress(start * len(conditions()) + number * len(batch), total)
        parts.append(np.array(errors))  # (conditions, ways, models, B)
    if parallel:
        parts = [part for process in distributed.gather(parts) for part in process]
    whole = np.concatenate(parts, axis=3)
    return [Robustness(whole.shape[3], split, _score(whole[:, :, m])) for m in range(len(models))]


def robustness_table(results: dict[str, Robustness]) -> list[list[str]]:
    """Lay out models' exact accuracies: the head, then a row per condition, the clean images first.

    A cell is the accuracy, the points lost to the clean images, and half of their 95 % interval;
    the lowest of a column starts with "worst: ".
    """
    head, columns = [""], [[f"{name} {strength}".strip() for name, strength in conditions()]]
    for name, result in results.items():
        for scores in result.ways():
            head.append(f"{name}, aligned" if scores[0].aligned else name)
            worst = min(scores, key=lambda score: score.exact)
            columns.append(["worst: " * (score is worst) + _cell(score) for score in scores])
    return [head, *([*cells] for cells in zip(*columns, strict=True))]


def _cell(score: Score) -> str:
    half = (score.interval[1] - score.interval[0]) / 2
    if not score.difference and not half:
        return f"{score.exact:.1%}"
    return f"{score.exact:.1%} {100 * score.difference:+.1f} ±{100 * half:.1f}"


def _disturbed(clean: NDArray[np.uint8], rows: IntArray) -> Any:
    """Yield the images in each of the conditions."""
    yield clean
    for disturbance in DISTURBANCES:
        for strength in disturbance.strengths:
            yield disturb(clean, rows, disturbance, strength)


def _errors(
    models: Sequence[Model], images: NDArray[np.uint8], ages: IntArray, flip: bool
) -> list[IntArray]:
    """Return by how many groups each model is wrong, (B,) each."""
    errors = []
    for model in models:
        chances = model.answer(images, flip, len(images)).groups
        errors.append(np.abs(chances.argmax(axis=1) - model.scheme.groups_of(ages)))
    return errors


def _score(errors: IntArray) -> list[Score]:
    """Score one model. errors: (conditions, ways, N)."""
    right = (errors == 0).astype(np.float64)
    scores = []
    for way in range(errors.shape[1]):
        for place, (disturbance, strength) in enumerate(conditions()):
            change = right[place, way] - right[0, 0]
            scores.append(
                Score(
                    disturbance, strength, bool(way),
                    exact=float(right[place, way].mean()),
                    one_off=float((errors[place, way] <= 1).mean()),
                    difference=float(change.mean()),
                    interval=bootstrap_interval(change),
                )
            )  # fmt: skip
    return scores
