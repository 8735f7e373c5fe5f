"""Ask every model about one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agecli.errors import AgecliError
from agecli.inference.ensemble import Together, join
from agecli.inference.explain import explain
from agecli.inference.pictures import Reading
from agecli.inference.predictor import Prediction
from agecli.inference.stability import VARIANTS, vary

from .models import Contender
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
    heat: np.ndarray | None = None
    """(h, w) from 0 to 1: where it looked."""
    variants: tuple[Prediction, ...] = ()
    """Its answers for VARIANTS of the face."""


@dataclass(frozen=True)
class Comparison:
    """What all models say of one face."""

    picture: Picture
    face: int
    margin: float
    crop: np.ndarray
    """uint8 (size, size, 3), as the model that sees most of it."""
    answers: list[Answer]
    together: Together | None
    variants: np.ndarray | None = None
    """uint8 (variants, size, size, 3)"""

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
            "together": asdict(self.together) if self.together else None,
            "broken": [
                {"model": answer.contender.name, "error": answer.error}
                for answer in self.answers
                if answer.error
            ],
        }


def compare(
    contenders: Sequence[Contender],
    picture: Picture,
    face: int = 0,
    margin: float = 0.0,
    *,
    heat: bool = False,
    vary_it: bool = False,
) -> Comparison:
    """Ask every model about one face of a picture.

    margin: added to the margins the models were trained with, in box sides. heat: also where each
    looked. vary_it: also its answers for small changes of the face.
    """
    face = min(max(face, 0), len(picture.faces) - 1)
    margin = min(max(margin, MARGINS[0]), MARGINS[1])
    reading = picture.crop(face, margin)
    varied = _varied(picture, face, margin) if vary_it else None
    answers = [_ask(contender, reading, margin, heat, varied) for contender in contenders]
    largest = max(reading.crops)
    return Comparison(
        picture, face, margin, reading.crops[largest][0], answers,
        join([answer.prediction for answer in answers if answer.prediction]),
        varied.crops[largest] if varied else None,
    )  # fmt: skip


def _ask(
    contender: Contender, reading: Reading, margin: float, heat: bool, varied: Reading | None
) -> Answer:
    try:
        (row,), seconds = contender.answer([reading])
        (view,) = contender.views
        crop = reading.crops[view][0]
        looked = run(explain, contender.model, crop, str(row.group)) if heat else None
        others = contender.answer([varied])[0] if varied else ()
    except AgecliError as error:
        return Answer(contender, error=str(error))
    return Answer(contender, row, seconds, None, crop, looked, tuple(others))


def _varied(picture: Picture, face: int, margin: float) -> Reading:
    wanted = {(size, trained + margin): (size, trained) for size, trained in picture.reading.crops}
    reading = vary(picture.image(), picture.faces[face], wanted, picture.name)
    assert len(reading.faces) == len(VARIANTS)
    crops = {wanted[view]: crops for view, crops in reading.crops.items()}
    return Reading(picture.name, "ok", faces=reading.faces, crops=crops)
