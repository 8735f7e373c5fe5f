"""The compare tab's results as HTML: the joint answer, a card per model, the strip of variants."""

from __future__ import annotations

from html import escape

from agecli.inference.ensemble import Together
from agecli.inference.explain import METHODS
from agecli.inference.stability import VARIANTS

from .compare import Answer, Comparison
from .facts import facts
from .pictures import data_uri, heat_over

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def results(comparison: Comparison) -> str:
    """Lay out all that the models say of a face."""
    cards = "".join(card(answer) for answer in comparison.answers)
    joint = together(comparison) if comparison.together else ""
    return f'{joint}<div class="cards">{cards}</div>{strip(comparison)}'


def message(text: str) -> str:
    """Say what went wrong, where the results would be."""
    return f'<div class="notice" role="alert"><strong>No answer.</strong> {escape(text)}</div>'


def together(comparison: Comparison) -> str:
    """Show the ensemble's answer, and how far the models agree."""
    joint = comparison.together
    assert joint
    age = f"about {joint.age:.0f} years" if joint.age is not None else ""
    detail = ", ".join(filter(None, [age, f"{joint.probability:.0%} sure"]))
    answers = [a for a in comparison.answers if a.prediction]
    columns = "".join(
        f'<li class="{"best" if group == joint.group else ""}" style="--p:{chance:.4f}">'
        f'<span class="who">{_markers(group, answers)}</span>'
        f'<span class="bar" aria-hidden="true"></span>'
        f'<span class="name">{dash(group)}</span><span class="sr"> {chance:.0%}</span></li>'
        for group, chance in joint.probabilities.items()
    )
    models = "One model" if joint.models == 1 else f"{_count(joint.models).capitalize()} models"
    return (
        '<section class="joint" aria-label="All models together" '
        f'data-group="{escape(joint.group)}">'
        f'<div class="say"><p class="kicker">{models} together</p>'
        f'<p class="group">{dash(joint.group)}</p><p class="detail">{detail}</p>'
        f'<p class="agree">{agreement(joint, answers)}</p></div>'
        f'<ol class="spectrum" aria-label="Mean probability of each age group">{columns}</ol>'
        "</section>"
    )


def agreement(joint: Together, answers: list[Answer]) -> str:
    """Say how far the models agree, in a sentence."""
    if joint.models == 1:
        return "Only one model is here, so nothing can be compared."
    if joint.spread == 0:
        all_of = "Both" if joint.models == 2 else f"All {_count(joint.models)}"
        return f"{all_of} say {dash(joint.group)}."
    labels = list(joint.probabilities)
    others = [a.prediction.group for a in answers if a.prediction.group != joint.group]  # type: ignore[union-attr]
    far = max(abs(labels.index(str(g)) - labels.index(joint.group)) for g in others)
    how = "in a neighbouring group" if far == 1 else f"up to {_count(far)} groups away"
    return (
        f"{_count(joint.agree).capitalize()} of {_count(joint.models)} "
        f"{'says' if joint.agree == 1 else 'say'} {dash(joint.group)}; "
        f"{'the other is' if len(others) == 1 else 'the others are'} {how}."
    )


def card(answer: Answer) -> str:
    """Show one model's answer, or why it has none."""
    contender = answer.contender
    head = (
        f'<header><h3>{escape(contender.name)}</h3><p class="title">{escape(contender.title)}</p>'
        "</header>"
    )
    row = answer.prediction
    if not row or not row.probabilities:
        why = escape(answer.error or "It gave no answer.")
        return f'<article class="card broken">{head}<p class="why">{why}</p></article>'
    age = f"<span>about {row.age:.0f} years</span>" if row.age is not None else ""
    bars = "".join(
        f'<tr class="{"best" if group == row.group else ""}"><th scope="row">{dash(group)}</th>'
        f'<td class="axis"><i style="width:{100 * chance:.2f}%"></i></td>'
        f'<td class="share">{percent(chance)}</td></tr>'
        for group, chance in row.probabilities.items()
    )
    return (
        f'<article class="card" data-model="{escape(contender.name)}" aria-label="'
        f'{escape(contender.name)} says {escape(str(row.group))}">{head}'
        f'<p class="group">{dash(str(row.group))}</p>'
        f'<p class="meta"><span>{row.probability:.0%} sure</span>{age}'
        f"<span>{1000 * answer.seconds:.0f} ms</span></p>"
        f'<table class="bars"><caption class="sr">Probability of each age group</caption>'
        f'{bars}<tfoot aria-hidden="true"><tr><td></td><td class="scale"><span>0</span>'
        f"<span>50</span><span>100%</span></td><td></td></tr></tfoot></table>"
        f'{_heat(answer)}<ul class="facts">{facts(contender)}</ul></article>'
    )


def strip(comparison: Comparison) -> str:
    """Show how the answers hold under small changes of the face."""
    if comparison.variants is None:
        return ""
    head = "".join(
        f'<th scope="col"><img src="{data_uri(crop)}" alt="" width="56" height="56">{name}</th>'
        for name, crop in zip(VARIANTS, comparison.variants, strict=True)
    )
    lines = []
    for answer in comparison.answers:
        if not answer.variants:
            continue
        first = answer.variants[0].group
        kept = sum(row.group == first for row in answer.variants[1:])
        cells = "".join(
            f'<td class="{"" if row.group == first else "moved"}">{dash(str(row.group))}'
            f"<small>{row.probability:.0%}</small></td>"
            for row in answer.variants
        )
        lines.append(
            f'<tr><th scope="row">{escape(answer.contender.name)}'
            f"<small>{kept} of {len(VARIANTS) - 1} the same</small></th>{cells}</tr>"
        )
    return (
        '<section class="strip"><h3>How sure is this?</h3>'
        "<p>The same face moved, mirrored, blurred, and in other light. None of it changes the "
        "person's age: an answer that changes is a weak one.</p>"
        f'<div class="wide" tabindex="0" role="region" aria-label="Answers under small changes">'
        f'<table><thead><tr><th><span class="sr">model</span></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def dash(group: str) -> str:
    """Write a group with an en dash."""
    return escape(group).replace("-", "–")


def percent(chance: float) -> str:
    """Write a share: no decimals, but never a 0 or 100 that is not one."""
    if 0 < chance < 0.005:
        return "&lt;1%"
    if 0.995 < chance < 1:
        return "&gt;99%"
    return f"{chance:.0%}"


def _heat(answer: Answer) -> str:
    if answer.heat is None or answer.crop is None or not answer.contender.metadata:
        return ""
    how = METHODS[answer.contender.metadata.model]
    return (
        f'<figure class="heat"><img src="{data_uri(heat_over(answer.crop, answer.heat))}" '
        f'alt="Heat map over the face: where {escape(answer.contender.name)} looked" width="224" '
        f'height="224"><figcaption>Bright: what counted most ({how})</figcaption></figure>'
    )


def _markers(group: str, answers: list[Answer]) -> str:
    names = [a.contender.name for a in answers if a.prediction and a.prediction.group == group]
    return "".join(f"<b>{escape(name)}</b>" for name in names)


def _count(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)
