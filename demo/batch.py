"""Answer for many pictures, and write the answers as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from agecli.errors import AgecliError
from agecli.inference.predictor import Prediction, Predictor

from .models import Contender
from .reading import NO_MODEL, Picture, Refused, read_picture
from .upload import File

T = TypeVar("T")

MOST = 200
"""Pictures at once."""

COLUMNS = (
    "source", "left", "top", "right", "bottom", "model", "group", "probability", "age", "status",
    "error",
)  # fmt: skip


def check(files: list[T] | None) -> list[T]:
    """Hold the number of pictures against the limit. Raises Refused."""
    if not files:
        raise Refused("Give at least one picture.")
    if len(files) > MOST:
        raise Refused(f"These are {len(files)} pictures; {MOST} at once is the most.")
    return files


def answer(
    contenders: Sequence[Contender], reader: Predictor | None, file: File, most_bytes: int
) -> tuple[Picture | None, list[Prediction]]:
    """Answer for all faces of a picture: a row per face and model, or one that says why not."""
    try:
        picture = read_picture(*file, reader, most_bytes)
    except Refused as error:
        status = "no_face" if str(error).startswith("No face") else "unreadable"
        return None, [Prediction(file[0], status=status, error=str(error))]  # type: ignore[arg-type]
    columns = []
    for contender in contenders:
        try:
            rows, _ = contender.answer([picture.reading])
        except AgecliError:
            continue  # shown as broken in the other tabs
        columns.append([replace(row, model=contender.name) for row in rows])
    if not columns:
        return None, [Prediction(file[0], status="unreadable", error=NO_MODEL)]
    return picture, [row for face in zip(*columns, strict=True) for row in face]


def answer_all(
    contenders: Sequence[Contender],
    reader: Predictor | None,
    files: Sequence[File],
    most_bytes: int,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each picture as plain values."""
    for file in files:
        _, rows = answer(contenders, reader, file, most_bytes)
        yield [asdict(row) for row in rows]


def to_csv(rows: Sequence[Prediction]) -> str:
    """Write a row per face and model."""
    groups = list(dict.fromkeys(group for row in rows for group in row.probabilities or ()))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *(f"p {group}" for group in groups)])
    for row in rows:
        box = row.face.box if row.face else [None] * 4
        chances = row.probabilities or {}
        writer.writerow(
            [_safe(row.source), *box, row.model, row.group, row.probability, row.age, row.status,
             row.error, *map(chances.get, groups)]
        )  # fmt: skip
    return text.getvalue()


def to_json(rows: Sequence[Prediction]) -> str:
    """Write a list with an object per face and model, as `agecli predict --json` has them."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def _safe(name: str) -> str:
    """Keep a spreadsheet from taking a file's name for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
