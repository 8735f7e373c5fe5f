"""What is answered for a face: a row of any table, and its words."""

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
    """What a model, or an ensemble, says of one face; or that a picture has no answer, and why."""

    source: str
    face: Face | None = None
    """None where the whole picture was used, or where there is no answer."""
    model: str | None = None
    group: str | None = None
    """The answered age group: the most probable one, or by another rule of its weights file."""
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    """All groups, young to old."""
    age: float | None = None
    """Median age in years, where the model's objective gives it."""
    between: tuple[str, str] | None = None
    """Two groups between which the age lies, or the model is torn; None inside of one."""
    torn: bool | None = None
    """The answered or the likeliest group is none that the age lies in, or next to in a gap."""
    set: tuple[str, ...] | None = None
    """The groups, from the answered one on both sides, of which the true one is as often one as
    `coverage` says; None where the weights file has no thresholds."""
    age_low: int | None = None
    age_high: int | None = None
    """The first and the last year of as many; None where the model knows no years."""
    coverage: float | None = None
    sure: bool | None = None
    """The answer is worth more than always answering the most frequent group, by the spread of its
    probabilities; None where the weights file does not say."""
    flaws: tuple[Flaw, ...] = ()
    """What the picture of the face lacks, where the answer is not sure."""
    seen: bool | None = None
    """The model was trained on this crop or a near copy of it; None where its file does not say."""
    status: Status = "ok"
    error: str | None = None
    track: Track | None = None
    """Where in a video it was seen; None in a picture."""

    @property
    def label(self) -> str:
        """The group, its probability and the age as a short text: "25-32 64%, 29 y"."""
        return label(self.group, self.probability, self.age)

    @property
    def doubt(self) -> str:
        """Between which groups the answer lies, in words; empty where it is inside one."""
        return doubt(self.between, torn=bool(self.torn))

    @property
    def span(self) -> str:
        """The set and its years in words; empty where there is none."""
        return span(self.set, self.age_low, self.age_high, self.coverage)


def abstained(row: Prediction) -> Prediction:
    """Return a row without its answer, and why, where that is not sure; others as they are."""
    if row.sure is not False:
        return row
    what = f"the face of {side(row.face.box):.0f} pixels" if row.face else "the picture"
    why = f"{what} is {' and '.join(row.flaws)}; " if row.flaws else ""
    return Prediction(
        row.source, row.face, row.model, sure=False, flaws=row.flaws, seen=row.seen,
        status="unsure", error=f"unsure: {why}{row.group} with {row.probability:.0%} is worth no "
        "more than always answering the most frequent group", track=row.track,
    )  # fmt: skip


def name_answer(
    labels: Sequence[str], chances: np.ndarray, age: float | None, decision: Decision
) -> dict[str, Any]:
    """Return the fields of an answer, rounded: the decided group, all of them, and the age.

    labels, chances: (groups,), young to old. age: in years, None where it is unknown.
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
    """Write an answer as it stands at a face: "25-32 64%, 29 y"."""
    return f"{group} {probability:.0%}" + ("" if age is None else f", {age:.0f} y")


def doubt(groups: Sequence[str] | None, *, torn: bool) -> str:
    """Write the groups between which an answer lies: "between 25-32 and 38-43"."""
    return f"{'torn ' * torn}between {groups[0]} and {groups[1]}" if groups else ""


def span(
    groups: Sequence[str] | None, low: int | None, high: int | None, coverage: float | None
) -> str:
    """Write a set and its years: "25-32 or 38-43, 24-39 years (90%)"."""
    if not groups or not coverage:
        return ""
    said = f" {'or' if len(groups) == 2 else 'to'} ".join(dict.fromkeys((groups[0], groups[-1])))
    years = "" if low is None else f", {low}-{high} years"
    return f"{said}{years} ({coverage:.0%})"


def labels_of(predictions: Iterable[Prediction]) -> dict[Face | None, list[str]]:
    """Return what is to be written at each face, a line per model; see `faces.drawing`."""
    labels: dict[Face | None, list[str]] = {}
    for prediction in predictions:
        labels.setdefault(prediction.face, []).append(prediction.label)
    return labels
