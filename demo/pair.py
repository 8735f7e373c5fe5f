"""Two pictures side by side: the main prediction of each, and every model's for both."""

from __future__ import annotations

from .compare import Comparison
from .render import dash, render


def pair(this: Comparison, other: Comparison) -> str:
    """Render two comparisons by the same models; nothing if one has no joint prediction."""
    if not this.first or not other.first:
        return ""
    rows = [
        (one.contender.name, one.prediction, two.prediction)
        for one, two in zip(this.answers, other.answers, strict=True)
    ]
    models = [
        (name, (one, two), years_between(one.age, two.age))
        for name, one, two in rows
        if one and two
    ]
    return render(
        "pair", comparisons=(this, other), models=models, difference=difference(this, other)
    )


def difference(this: Comparison, other: Comparison) -> str:
    """Return how the ages of two pictures differ, in a sentence."""
    one, two = this.first, other.first
    if not one or not two:
        return ""
    same = one.group == two.group
    groups = (
        f"Both get the group {dash(str(one.group))}" if same
        else f"{dash(str(one.group))} in this picture, {dash(str(two.group))} in the earlier one"
    )  # fmt: skip
    years = years_between(one.age, two.age)
    if years is None:
        return f"{groups}."
    if not years:
        return f"{groups}, and the same age."
    which, years = "this" if years > 0 else "the earlier", abs(years)
    return f"{groups}: the face in {which} picture looks {years} year{'s' * (years > 1)} older."


def years_between(one: float | None, two: float | None) -> int | None:
    """Return how much older the first age is, in whole years as both are shown."""
    return None if one is None or two is None else round(one) - round(two)
