"""The joint prediction of several models for a face, and how far they agree."""

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
"""Fields that an ensemble's prediction copies from a model's."""


@dataclass(frozen=True)
class Ensemble:
    """The joint prediction of several models for a face."""

    group: str
    probability: float
    probabilities: dict[str, float]
    """Probabilities of all groups, young to old."""
    age: float | None
    """None if no model predicts one."""
    between: tuple[str, str] | None
    torn: bool
    """Both as in `Prediction`."""
    agree: int
    """Number of models that predict this group."""
    models: int
    spread: int
    """Groups between the youngest and the oldest prediction; 0 if all agree."""
    set: tuple[str, ...] | None = None
    age_low: int | None = None
    age_high: int | None = None
    coverage: float | None = None
    sure: bool | None = None
    flaws: tuple[Flaw, ...] = ()
    """These as in `Prediction`; None for a plain mean, which has no thresholds."""

    @property
    def label(self) -> str:
        """Return group, probability and age as a short text, like `Prediction.label`."""
        return label(self.group, self.probability, self.age)

    @property
    def doubt(self) -> str:
        """Return the groups between which the prediction lies, like `Prediction.doubt`."""
        return doubt(self.between, torn=self.torn)

    @property
    def span(self) -> str:
        """Return the set and its years in words, like `Prediction.span`."""
        return span(self.set, self.age_low, self.age_high, self.coverage)


def lead(answers: Sequence[Prediction]) -> Prediction | Ensemble | None:
    """Return the prediction for a face to show first.

    answers: in the order of `Predictor.predict`. It is the joint prediction; if an ensemble was
    fitted that is not better than the best model, that model's prediction.
    """
    fitted = any(answer.model == ENSEMBLE for answer in answers)
    return answers[0] if fitted and answers[0].model != ENSEMBLE else together(answers)


def together(answers: Sequence[Prediction]) -> Ensemble | None:
    """Return the joint prediction of the models for a face.

    It is their ensemble's, if among them, and for a single model its own; else the
    mean of their probabilities, whose median is the group, and of their ages. None without any,
    or if models have different age groups.
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
