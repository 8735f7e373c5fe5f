"""Conditions that a model's figures have to meet, such as exact>=0.70."""

from __future__ import annotations

import re

from agecli.errors import UsageError
from agecli.evaluation.robustness import WAYS, Robustness
from agecli.evaluation.scoring import Evaluation

_GATE = re.compile(r"([a-z0-9_]+)\s*(>=|<=)\s*(-?[0-9]+(?:\.[0-9]*)?|-?\.[0-9]+)")


def check_gate(gate: str, row: Evaluation, robustness: Robustness | None = None) -> str | None:
    """Check a row against a condition such as exact>=0.70; return its failure in words, or None.

    robustness: the row's. Raises UsageError for an invalid condition, or a figure that
    the row does not have.
    """
    name, sign, bound = parse_gate(gate)
    figures = {k: v for k, v in row.summary().items() if isinstance(v, int | float)}
    figures |= robustness.figures() if robustness else {}
    if (worst := row.worst_slice) and worst.exact is not None:
        figures["worst_slice"] = worst.exact
    if name not in figures:
        raise UsageError(
            f"--gate: {row.name} has no figure {name!r}; figures are {', '.join(sorted(figures))}"
        )
    value = figures[name]
    holds = value >= bound if sign == ">=" else value <= bound
    return None if holds else f"{row.name}: {name} is {value:.4g}, not {sign} {bound:g}"


def is_of_robustness(gate: str) -> bool:
    """Return whether a condition is on a figure of perturbed images, which no ensemble has."""
    return parse_gate(gate)[0].startswith(tuple(f"{way}_" for way in WAYS))


def parse_gate(gate: str) -> tuple[str, str, float]:
    """Split a condition into figure, sign and bound. Raises UsageError for an invalid one."""
    match = _GATE.fullmatch(gate.strip())
    if not match:
        raise UsageError(f"--gate: {gate!r} is not a condition such as exact>=0.70 or mae<=5")
    return match[1], match[2], float(match[3])
