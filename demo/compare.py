"""Ask every model about one face."""

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
    """What one model says, or why it says nothing."""

    contender: Contender
    prediction: Prediction | None = None
    seconds: float = 0.0
    error: str | None = None
    crop: np.ndarray | None = None
    """uint8 (size, size, 3), what it saw."""
    looked: Explanation | None = None
    """Where it looked, if that was asked for."""
    perturbed: tuple[Prediction, ...] = ()
    """Its answers for the PERTURBATIONS of the face."""
    said: Said | None = None
    """What the prediction is made of."""


@dataclass(frozen=True)
class Comparison:
    """What all models say of one face."""

    picture: Picture
    face: int
    margin: float
    crop: np.ndarray
    """uint8 (size, size, 3), as the model that sees most of it."""
    answers: list[Answer]
    ensemble: Ensemble | None
    first: Prediction | Ensemble | None
    """Of them all, the answer that is shown first."""
    perturbed: np.ndarray | None = None
    """uint8 (perturbations, size, size, 3)"""
    fitted: bool = False
    """The ensemble is one that was fitted for these models, and no plain mean."""

    def record(self) -> dict[str, Any]:
        """Return plain values for JSON; each answer as `agecli predict --json` gives it."""
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
    """Nobody wants the answer any more."""


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
    """Ask every model about one face of a picture.

    margin: added to the margins the models were trained with, in box sides. heat: also where each
    looked. stability: also its answers for small perturbations of the face. wanted: whether
    the answer still is; raises GivenUp where it is not.
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
