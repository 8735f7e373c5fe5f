"""What several models answer together: the mean of their probabilities, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agecli.decision import MEDIAN
from agecli.inference.predictor import Prediction, doubt, label, name_answer

NAMED = ("group", "probability", "probabilities", "age", "between", "torn")
"""What an ensemble's answer has of a model's."""


@dataclass(frozen=True)
class Ensemble:
    """The answer of several models for a face."""

    group: str
    probability: float
    probabilities: dict[str, float]
    """All groups, young to old."""
    age: float | None
    """Mean of the ages of the models that give one."""
    between: tuple[str, str] | None
    torn: bool
    """Both as those of `Prediction`."""
    agree: int
    """Models whose own answer is this group."""
    models: int
    spread: int
    """Groups between the youngest and the oldest answer; 0 where all answers are the same."""

    @property
    def label(self) -> str:
        """The group, its probability and the age as a short text, as `Prediction.label`."""
        return label(self.group, self.probability, self.age)

    @property
    def doubt(self) -> str:
        """Between which groups the answer lies, as `Prediction.doubt`."""
        return doubt(self.between, torn=self.torn)


def average(answers: Sequence[Prediction]) -> Ensemble | None:
    """Average the answers of models for one face, as `agecli evaluate` does for its ensemble.

    The group is the mean's median; of one model, its own answer. None without answers, or where
    models have different age groups.
    """
    chances = [answer.probabilities for answer in answers if answer.probabilities]
    if not chances or any(list(other) != list(chances[0]) for other in chances):
        return None
    labels = list(chances[0])
    mean = np.mean([list(other.values()) for other in chances], axis=0)  # (groups,)
    ages = [answer.age for answer in answers if answer.age is not None]
    places = [labels.index(answer.group) for answer in answers if answer.group]
    if len(chances) > 1:
        named = name_answer(labels, mean, float(np.mean(ages)) if ages else None, MEDIAN)
    else:
        named = {name: getattr(answers[0], name) for name in NAMED}
    return Ensemble(
        **named, models=len(chances), agree=places.count(labels.index(named["group"])),
        spread=max(places) - min(places),
    )  # fmt: skip
