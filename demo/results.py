"""The compare tab's results: the main prediction, a card per model, and their stability."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from agecli.inference.ensemble import Ensemble, lead, together
from agecli.inference.prediction import Prediction
from agecli.inference.stability import PERTURBATIONS

from .compare import Comparison
from .pair import pair
from .render import dash, render

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def results(comparison: Comparison, beside: Comparison | None = None) -> str:
    """Render all predictions for a face, and for another one beside it."""
    ensemble, crops = comparison.ensemble, comparison.perturbed
    groups = [a.prediction.group for a in comparison.answers if a.prediction]
    side_by_side = pair(comparison, beside) if beside else ""
    return side_by_side + render(
        "results", kicker=kicker(comparison), ensemble=ensemble, first=comparison.first,
        answers=comparison.answers,
        agreement=agreement(ensemble, groups) if ensemble else "",
        remarks=list(remarks(comparison.first, ensemble)),
        record=json.dumps(comparison.record(), indent=1), perturbed=crops,
        perturbations=[] if crops is None else list(zip(PERTURBATIONS, crops, strict=True)),
    )  # fmt: skip


def kicker(comparison: Comparison) -> str:
    """Return in words whose prediction is shown first."""
    names = [answer.contender.name for answer in comparison.answers if answer.prediction]
    if len(names) < 2:
        return "".join(names)
    if comparison.first != comparison.ensemble:
        return f"{names[0]}, the most accurate of them"
    if comparison.fitted:
        return f"{_count(len(names)).capitalize()} models together"
    return f"The mean of {', '.join(names[:-1])} and {names[-1]}"


def agreement(ensemble: Ensemble, groups: Sequence[str | None]) -> str:
    """Return how far the models agree, in a sentence. groups: each model's prediction."""
    models, group = ensemble.models, dash(ensemble.group)
    if models == 1:
        return "Only one model is here, so nothing can be compared."
    if ensemble.agree == models:
        return f"{'Both' if models == 2 else f'All {_count(models)}'} say {group}."
    labels = list(ensemble.probabilities)
    own = labels.index(ensemble.group)
    far = [abs(labels.index(str(g)) - own) for g in groups if g != ensemble.group]
    how = (
        "in a neighbouring group"
        if max(far) == 1
        else f"{'up to ' * (len(far) > 1)}{_count(max(far))} groups away"
    )
    return (
        f"{_count(ensemble.agree).capitalize() if ensemble.agree else 'None'} of {_count(models)} "
        f"{'say' if ensemble.agree > 1 else 'says'} {group}; "
        f"{'the other is' if len(far) == 1 else 'the others are'} {how}."
    )


def said(rows: Sequence[Prediction]) -> Iterator[tuple[Prediction | Ensemble | None, str]]:
    """Yield the main prediction of each face of a picture, and how many models agree."""
    for face in dict.fromkeys(row.face for row in rows):
        own = [row for row in rows if row.face == face]
        first, ensemble = lead(own), together(own)
        yield (
            first,
            f"{ensemble.agree} of {ensemble.models} agree"
            if ensemble and ensemble.models > 1
            else "",
        )


def remarks(first: Prediction | Ensemble | None, ensemble: Ensemble | None) -> Iterator[str]:
    """Explain puzzling main predictions: an age in no group, or a group that few models predict."""
    if not first or not ensemble:
        return
    if first.between and not first.torn:
        younger, older = (dash(group) for group in first.between)
        yield (
            f"The groups leave gaps: there is none between {younger} and {older}, so that such an "
            "age gets the likelier of the two."
        )
    if first.torn:
        yield "The likeliest group and the likeliest age do not go together here."
    if first == ensemble and 2 * ensemble.agree < ensemble.models:
        yield (
            "Together, probabilities count and not votes: a group that most models find likely "
            "can come first, though few put it first."
        )


def _count(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)
