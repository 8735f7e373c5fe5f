"""Predict one face by every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from agecli.errors import AgecliError
from agecli.inference.ensemble import Ensemble, lead, together
from agecli.inference.explain import Explanation, explain
from agecli.inference.pictures import Reading
from agecli.inference.prediction import Prediction
from agecli.inference.predictor import Said
from agecli.inference.stability import read_perturbed

from .models import Contender, add_ensemble
from .reading import MARGINS, Picture
from .threads import run


@dataclass(frozen=True)
class Answer:
    """One model's prediction, or why it has none."""

    contender: Contender
    prediction: Prediction | None = None
    seconds: float = 0.0
    error: str | None = None
    crop: np.ndarray | None = None
    """uint8 (size, size, 3), the model's input."""
    looked: Explanation | None = None
    """The heat map, if requested."""
    perturbed: tuple[Prediction, ...] = ()
    """Its predictions for the PERTURBATIONS of the face."""
    said: Said | None = None
    """The outputs from which the prediction is made."""


@dataclass(frozen=True)
class Comparison:
    """All models' predictions for one face."""

    picture: Picture
    face: int
    margin: float
    crop: np.ndarray
    """uint8 (size, size, 3), for the model with the widest margin."""
    answers: list[Answer]
    ensemble: Ensemble | None
    first: Prediction | Ensemble | None
    """The prediction that is shown first."""
    perturbed: np.ndarray | None = None
    """uint8 (perturbations, size, size, 3)"""
    fitted: bool = False
    """The ensemble is one that was fitted for these models, and no plain mean."""

    def record(self) -> dict[str, Any]:
        """Return plain values for JSON, each prediction as in `agecli predict --json`."""
        return {
            "picture": self.picture.name,
            "faces": [asdict(face) for face in self.picture.faces],
            "face": self.face,
            "margin": self.margin,
            "answers": [
                asdict(answer.prediction)
                | {"name": answer.contender.name, "seconds": round(answer.seconds, 4)}
                for answer in self.answers
                if answer.prediction
            ],
            "together": asdict(self.ensemble) if self.ensemble else None,
            "broken": [
                {"model": answer.contender.name, "error": answer.error}
                for answer in self.answers
                if answer.error
            ],
        }


class GivenUp(Exception):
    """The result is no longer wanted."""


def compare(
    contenders: Sequence[Contender],
    picture: Picture,
    face: int = 0,
    margin: float = 0.0,
    *,
    heat: bool = False,
    stability: bool = False,
    wanted: Callable[[], bool] = lambda: True,
) -> Comparison:
    """Predict one face of a picture by every model.

    margin: added to the margins the models were trained with, in box sides. heat: also compute
    heat maps. stability: also predict small perturbations of the face. wanted: whether
    the result still is; raises GivenUp if not.
    """
    face = min(max(face, 0), len(picture.faces) - 1)
    margin = min(max(margin, MARGINS[0]), MARGINS[1])
    reading = picture.crop(face, margin)
    perturbed = _perturbed(picture, face, margin) if stability else None
    answers = []
    for contender in contenders:
        if not wanted():
            raise GivenUp
        answers.append(_ask(contender, reading, heat, perturbed))
    if not wanted():
        raise GivenUp
    largest = max(reading.crops)
    said = {answer.contender: answer.said for answer in answers if answer.said}
    rows = [row for (row,) in add_ensemble(said)]
    return Comparison(
        picture, face, margin, reading.crops[largest][0], answers, together(rows), lead(rows),
        perturbed.crops[largest] if perturbed else None, len(rows) > len(said),
    )  # fmt: skip


def _ask(contender: Contender, reading: Reading, heat: bool, perturbed: Reading | None) -> Answer:
    try:
        said, seconds = contender.answer([reading])
        (row,) = said.rows
        (view,) = contender.views
        crop = reading.crops[view][0]
        looked = run(explain, contender.model, crop, str(row.group)) if heat else None
        others = contender.answer([perturbed])[0].rows if perturbed else ()
    except AgecliError as error:
        return Answer(contender, error=str(error))
    return Answer(contender, row, seconds, None, crop, looked, tuple(others), said)


def _perturbed(picture: Picture, face: int, margin: float) -> Reading:
    wanted = {(size, trained + margin): (size, trained) for size, trained in picture.reading.crops}
    reading = read_perturbed(picture.image(), picture.faces[face], wanted, picture.name)
    return replace(reading, crops={wanted[view]: c for view, c in reading.crops.items()})
