"""Several models on the same images: a row each, their ensemble, and whether one is better."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from agecli.ages import NO_GROUP, Answers, FloatArray
from agecli.errors import UsageError
from agecli.evaluation import metrics
from agecli.evaluation.calibration import rescale
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.significance import bootstrap_interval, compare, worst_slice

ENSEMBLE = "ensemble"

CERTAIN = 0.05
"""A p-value below which a difference is called one."""

GATE = re.compile(r"([a-z0-9_]+)\s*(>=|<=)\s*(-?[0-9.]+)")


def describe(name: str, result: Evaluation) -> dict[str, Any]:
    """Return a model's row as plain values: what it is, its scores, intervals, cost and slices.

    `bootstrap` has 95 % intervals of exact and 1-off accuracy; `ece_raw` is the calibration error
    at temperature 1, `ece` that at the file's own.
    """
    truth, answers, known = _answers(result)
    error = np.abs(answers - truth)[known]
    plain = rescale(result.distribution, 1 / result.temperature)
    raw = Answers(plain, result.scheme, result.knows_years).groups
    found = result.slices()
    return {
        "name": name,
        **result.summary(),
        "bootstrap": {
            "exact": bootstrap_interval(error == 0),
            "one_off": bootstrap_interval(error <= 1),
        },
        "temperature": result.temperature,
        "ece_raw": metrics.calibration_error(raw[known], truth[known]),
        "images_per_second": result.images_per_second,
        "bytes": result.weights.stat().st_size if result.weights else None,
        "slices": found,
        "worst_slice": worst_slice(found),
    }


def make_ensemble(results: list[Evaluation]) -> Evaluation | None:
    """Average the probabilities of models on the same images, and score the answers.

    The age is the mean of those that give one. None for models of different age groups.
    """
    first = results[0]
    if any(result.scheme.labels != first.scheme.labels for result in results):
        return None
    chances = np.mean([result.probabilities for result in results], axis=0)
    ages = [result.answered for result in results if result.answered is not None]
    answered: FloatArray | None = np.mean(ages, axis=0) if ages else None
    rates = sum(1 / result.images_per_second for result in results)
    return replace(
        first, model=ENSEMBLE, title=ENSEMBLE, weights=None, distribution=chances,
        probabilities=chances, answered=answered, temperature=1.0, images_per_second=1 / rates,
        knows_years=False,
        scores=metrics.score(chances, first.ages, first.scheme, answered),
    )  # fmt: skip


def pairs(names: list[str], results: list[Evaluation]) -> list[dict[str, Any]]:
    """Compare models in pairs on the images whose age has a group in the schemes of both."""
    right, every = [], np.ones(len(results[0].ages), dtype=bool)
    for result in results:
        truth, answers, known = _answers(result)
        right.append(answers == truth)
        every &= known
    return [asdict(pair) for pair in compare(names, [one[every] for one in right])]


def verdict(pair: dict[str, Any]) -> str:
    """Say in words which model of a pair is better, or that it cannot be told."""
    if pair["p"] >= CERTAIN:
        return "not told apart"
    return f"{pair['first' if pair['difference'] > 0 else 'second']} is better"


def check_gate(gate: str, row: dict[str, Any]) -> str | None:
    """Hold a row against a condition as exact>=0.70; say how it fails, or None where it holds.

    Raises UsageError for a condition that is none, or of a figure that the row does not have.
    """
    match = GATE.fullmatch(gate.strip())
    figures = {k: v for k, v in row.items() if isinstance(v, int | float)}
    if row["worst_slice"]:
        figures["worst_slice"] = row["worst_slice"]["exact"]
    if not match or match[1] not in figures:
        raise UsageError(
            f"--gate: {gate!r} is no condition such as exact>=0.70; figures are "
            f"{', '.join(sorted(figures))}"
        )
    value, bound = figures[match[1]], float(match[3])
    holds = value >= bound if match[2] == ">=" else value <= bound
    return None if holds else f"{row['name']}: {match[1]} is {value:.4g}, not {match[2]} {bound:g}"


def _answers(result: Evaluation) -> tuple[Any, Any, Any]:
    """Return the true groups (N,), the answered ones (N,), and which images have a true group."""
    truth = result.scheme.groups_of(result.ages)
    return truth, result.probabilities.argmax(axis=1), truth != NO_GROUP
