"""What several models say together: the mean of their probabilities, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agecli.inference.predictor import Prediction


@dataclass(frozen=True)
class Together:
    """The joint answer of models for a face."""

    group: str
    probability: float
    probabilities: dict[str, float]
    """All groups, young to old."""
    age: float | None
    """Mean of the ages of the models that give one."""
    agree: int
    """Models whose own answer is this group."""
    models: int
    spread: int
    """Groups between the youngest and the oldest answer; 0 where all answers are the same."""


def join(answers: Sequence[Prediction]) -> Together | None:
    """Average the answers of models for one face, as `agecli evaluate` does for its ensemble.

    None without answers, or where models have different age groups.
    """
    chances = [answer.probabilities for answer in answers if answer.probabilities]
    if not chances or any(list(other) != list(chances[0]) for other in chances):
        return None
    labels = list(chances[0])
    mean = np.mean([list(other.values()) for other in chances], axis=0)  # (groups,)
    best = int(mean.argmax())
    ages = [answer.age for answer in answers if answer.age is not None]
    places = [labels.index(answer.group) for answer in answers if answer.group]
    return Together(
        group=labels[best],
        probability=round(float(mean[best]), 4),
        probabilities={
            label: round(float(p), 4) for label, p in zip(labels, mean, strict=True)
        },
        age=round(float(np.mean(ages)), 1) if ages else None,
        agree=places.count(best),
        models=len(chances),
        spread=max(places) - min(places),
    )  # fmt: skip
