"""What several models say together of a face, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agecli.decision import MEDIAN
from agecli.inference.fitted import ENSEMBLE
from agecli.inference.flaws import Flaw
from agecli.inference.prediction import Prediction, doubt, label, name_answer, span

NAMED = (
    "group", "probability", "probabilities", "age", "between", "torn", "set", "age_low", "age_high",
    "coverage", "sure", "flaws",
)  # fmt: skip
"""What an ensemble's answer has of a model's."""


@dataclass(frozen=True)
class Ensemble:
    """The answer of several models for a face."""

    group: str
    probability: float
    probabilities: dict[str, float]
    """All groups, young to old."""
    age: float | None
    """None where no model gives one."""
    between: tuple[str, str] | None
    torn: bool
    """Both as those of `Prediction`."""
    agree: int
    """Models whose own answer is this group."""
    models: int
    spread: int
    """Groups between the youngest and the oldest answer; 0 where all answers are the same."""
    set: tuple[str, ...] | None = None
    age_low: int | None = None
    age_high: int | None = None
    coverage: float | None = None
    sure: bool | None = None
    flaws: tuple[Flaw, ...] = ()
    """These as those of `Prediction`; a plain mean has no thresholds, and none of them."""

    @property
    def label(self) -> str:
        """The group, its probability and the age as a short text, as `Prediction.label`."""
        return label(self.group, self.probability, self.age)

    @property
    def doubt(self) -> str:
        """Between which groups the answer lies, as `Prediction.doubt`."""
        return doubt(self.between, torn=self.torn)

    @property
    def span(self) -> str:
        """The set and its years in words, as `Prediction.span`."""
        return span(self.set, self.age_low, self.age_high, self.coverage)


def lead(answers: Sequence[Prediction]) -> Prediction | Ensemble | None:
    """Return the one of the answers for a face that is to be shown first.

    answers: in the order of `Predictor.predict`. It is what all say together; where an ensemble was
    fitted that is not better than the best model, that model's answer.
    """
    fitted = any(answer.model == ENSEMBLE for answer in answers)
    return answers[0] if fitted and answers[0].model != ENSEMBLE else together(answers)


def together(answers: Sequence[Prediction]) -> Ensemble | None:
    """Return what the models say together that have answered for a face.

    That is the answer of their ensemble where it is among these, and of one model its own; else the
    mean of their probabilities, whose median is the group, and of their ages. None without answers,
    or where models have different age groups.
    """
    own = [answer for answer in answers if answer.probabilities and answer.model != ENSEMBLE]
    chances = [answer.probabilities or {} for answer in own]
    if not chances or any(list(other) != list(chances[0]) for other in chances):
        return None
    labels = list(chances[0])
    said = next((answer for answer in answers if answer.model == ENSEMBLE), own[0])
    if len(own) == 1 or said.model == ENSEMBLE:
        named = {name: getattr(said, name) for name in NAMED}
    else:
        mean = np.mean([list(other.values()) for other in chances], axis=0)  # (groups,)
        ages = [answer.age for answer in own if answer.age is not None]
        named = name_answer(labels, mean, float(np.mean(ages)) if ages else None, MEDIAN)
    places = [labels.index(answer.group) for answer in own if answer.group]
    return Ensemble(
        **named, models=len(own), agree=places.count(labels.index(named["group"])),
        spread=max(places) - min(places),
    )  # fmt: skip
