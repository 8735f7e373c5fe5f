"""Predictions as rows of a table, the same in every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from agecli.inference.prediction import Prediction

COLUMNS = (
    "source", "left", "top", "right", "bottom", "angle", "score", "track", "frames", "first",
    "last", "best", "model", "group", "probability", "age", "between", "torn", "set",
    "age_low", "age_high", "coverage", "sure", "flaws", "seen",
    "status", "error",
)  # fmt: skip
"""`score` is the face detector's, 0 to 1; `first`, `last`, `best` are seconds of a video."""


def csv_header(groups: Sequence[str]) -> list[str]:
    """Return the columns: COLUMNS, and the probability of each group."""
    return [*COLUMNS, *(f"p {group}" for group in groups)]


def csv_row(row: Prediction, groups: Sequence[str]) -> list[Any]:
    """Return the values of a prediction, None where it has none."""
    found, chances = row.face, row.probabilities or {}
    face = [*found.box, found.angle, found.score] if found else [None] * 6
    track = astuple(row.track) if row.track else [None] * 5
    return [
        row.source, *face, *track, row.model, row.group, row.probability, row.age,
        row.between and "/".join(row.between), row.torn,
        row.set and "/".join(row.set), row.age_low, row.age_high, row.coverage, row.sure,
        "/".join(row.flaws) or None, row.seen,
        row.status, row.error,
        *map(chances.get, groups),
    ]  # fmt: skip
