"""Predictions for a face: a row of any table, and its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agecli.ages import Scheme
from agecli.decision import Decision, between
from agecli.faces import Face
from agecli.faces.geometry import side
from agecli.faces.tracks import Track
from agecli.inference.flaws import Flaw
from agecli.inference.pictures import Status


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model, or an ensemble, for a face; or why a picture has none."""

    source: str
    face: Face | None = None
    """None if the whole image was used, or there is no prediction."""
    model: str | None = None
    group: str | None = None
    """The predicted age group: the most probable one, or by another decision rule."""
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    """All groups, young to old."""
    age: float | None = None
    """Median age in years, if the model predicts it."""
    between: tuple[str, str] | None = None
    """Two groups between which the age lies, or the model is torn; None inside a group."""
    torn: bool | None = None
    """Whether the predicted or likeliest group is neither the age's nor, in a gap, next to it."""
    set: tuple[str, ...] | None = None
    """The groups around the predicted one, which contain the true one as often as
    `coverage` says; None if the weights file has no thresholds."""
    age_low: int | None = None
    age_high: int | None = None
    """The first and last year of the set; None for a model of groups."""
    coverage: float | None = None
    sure: bool | None = None
    """Whether the prediction is better than always the most frequent group, by the spread of its
    probabilities; None if the weights file has no threshold."""
    flaws: tuple[Flaw, ...] = ()
    """Flaws of the face's image, if the prediction is uncertain."""
    seen: bool | None = None
    """Whether the model was trained on this crop or a near copy of it; None if unknown."""
    status: Status = "ok"
    error: str | None = None
    track: Track | None = None
    """Its track in a video; None in an image."""

    @property
    def label(self) -> str:
        """Return group, probability and age as a short text: "25-32 64%, 29 y"."""
        return label(self.group, self.probability, self.age)

    @property
    def doubt(self) -> str:
        """Return in words the groups between which the prediction lies; empty inside a group."""
        return doubt(self.between, torn=bool(self.torn))

    @property
    def span(self) -> str:
        """Return the set and its years in words; empty without a set."""
        return span(self.set, self.age_low, self.age_high, self.coverage)


def abstained(row: Prediction) -> Prediction:
    """Return an uncertain row without its prediction, with the reason; others unchanged."""
    if row.sure is not False:
        return row
    what = f"the face of {side(row.face.box):.0f} pixels" if row.face else "the picture"
    why = f"{what} is {' and '.join(row.flaws)}; " if row.flaws else ""
    return Prediction(
        row.source, row.face, row.model, sure=False, flaws=row.flaws, seen=row.seen,
        status="unsure", error=f"unsure: {why}{row.group} with {row.probability:.0%} is no "
        "better than always the most frequent group", track=row.track,
    )  # fmt: skip


def name_answer(
    labels: Sequence[str], chances: np.ndarray, age: float | None, decision: Decision
) -> dict[str, Any]:
    """Return the rounded fields of a prediction: the decided group, all groups, and the age.

    labels, chances: (groups,), young to old. age: in years, None if unknown.
    """
    group = int(decision.decide(chances[None])[0])
    groups, torn = between(chances, age, group, Scheme.parse(labels))
    return {
        "group": labels[group],
        "probability": round(float(chances[group]), 4),
        "probabilities": {
            label: round(float(p), 4) for label, p in zip(labels, chances, strict=True)
        },
        "age": None if age is None else round(float(age), 1),
        "between": groups and (labels[groups[0]], labels[groups[1]]),
        "torn": torn,
    }


def label(group: str | None, probability: float | None, age: float | None) -> str:
    """Format a prediction for a face: "25-32 64%, 29 y"."""
    return f"{group} {probability:.0%}" + ("" if age is None else f", {age:.0f} y")


def doubt(groups: Sequence[str] | None, *, torn: bool) -> str:
    """Format the groups between which a prediction lies: "between 25-32 and 38-43"."""
    return f"{'torn ' * torn}between {groups[0]} and {groups[1]}" if groups else ""


def span(
    groups: Sequence[str] | None, low: int | None, high: int | None, coverage: float | None
) -> str:
    """Format a set and its years: "25-32 or 38-43, 24-39 years (90%)"."""
    if not groups or not coverage:
        return ""
    said = f" {'or' if len(groups) == 2 else 'to'} ".join(dict.fromkeys((groups[0], groups[-1])))
    years = "" if low is None else f", {low}-{high} years"
    return f"{said}{years} ({coverage:.0%})"


def labels_of(predictions: Iterable[Prediction]) -> dict[Face | None, list[str]]:
    """Return the labels of each face, a line per model; see `faces.drawing`."""
    labels: dict[Face | None, list[str]] = {}
    for prediction in predictions:
        labels.setdefault(prediction.face, []).append(prediction.label)
    return labels
