"""Decision rules: from a distribution to the predicted group, and when it is uncertain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta

if TYPE_CHECKING:
    from agecli.ages import FloatArray, IntArray, Scheme

Rule = Literal["likeliest", "median", "adjusted"]
Share = Annotated[float, Meta(ge=1e-12, lt=1)]
"""A group's share of the images, by which probabilities are divided without overflow."""


@dataclass(frozen=True)
class Decision:
    """How the predicted group is chosen; probabilities and ages are the same under every rule.

    `likeliest`: the most probable group. `median`: the first that is at least as probable, together
    with all younger ones, as the older ones, which minimises the expected error in
    groups. `adjusted`: the likeliest after each probability is divided by its group's share of the
    data to the power of `tau`, so that rare groups are not neglected (post-hoc logit
    adjustment, Menon et al. 2021).
    """

    rule: Rule = "likeliest"
    tau: Annotated[float, Meta(ge=0, le=2)] = 0.0
    """Strength of `adjusted`."""
    shares: tuple[Share, ...] = ()
    """For `adjusted`: each group's share of the validation images, young to old."""

    def __str__(self) -> str:
        if self.rule == "adjusted":
            return f"the likeliest group after logit adjustment of strength {self.tau:g}"
        return f"the {self.rule} group"

    def decide(self, chances: FloatArray) -> IntArray:
        """Return the predicted groups (N,) from the groups' probabilities (N, groups)."""
        if self.rule == "median":
            younger = chances.cumsum(axis=1)  # (N, groups), including the group itself
            return (younger < younger[:, -1:] / 2).sum(axis=1)
        if self.rule == "adjusted":
            chances = chances * np.array(self.shares) ** -self.tau
        return chances.argmax(axis=1)


LIKELIEST = Decision()
"""The rule of files from earlier versions, and of models in training."""
MEDIAN = Decision("median")


def check_decision(decision: Decision, groups: int) -> None:
    """Raise ValueError for a decision that does not fit the number of groups."""
    wanted = groups if decision.rule == "adjusted" else 0
    if len(decision.shares) != wanted:
        raise ValueError(
            f"decision: {decision.rule!r} with {len(decision.shares)} shares, not {wanted}"
        )


def between(
    chances: FloatArray, age: float | None, group: int, scheme: Scheme
) -> tuple[tuple[int, int] | None, bool]:
    """Return the two groups between which a prediction lies, and whether its model is torn.

    It is torn where the predicted group, or the likeliest, is neither that of the median age
    nor, in a gap, next to it; without an age, where the predicted group is not the likeliest.
    Otherwise there are two groups for an age between them, and None for one inside a group.
    chances: (groups,); group: the predicted one.
    """
    said = {group, int(chances.argmax())}
    year = None if age is None else round(float(age))  # as it is shown
    near = {group} if year is None else _around(year, scheme)
    if said <= near:
        return (None if len(near) == 1 else (min(near), max(near))), False
    if year is not None:
        said.add(int(scheme.nearest_groups([year])[0]))
    return (min(said), max(said)), True


def _around(year: int, scheme: Scheme) -> set[int]:
    """Return the group of a year, or both groups around a gap, if there are two."""
    ended = sum(last < year for _, last in scheme.bounds)
    begun = sum(first <= year for first, _ in scheme.bounds)
    return {ended, begun - 1} & set(range(len(scheme)))
