"""Predict many pictures, and write the predictions as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from agecli.errors import AgecliError
from agecli.faces import Face
from agecli.inference.ensemble import Ensemble, lead
from agecli.inference.prediction import Prediction
from agecli.inference.predictor import Predictor, Said
from agecli.inference.rows import csv_header, csv_row

from .models import Contender, add_ensemble
from .reading import NO_MODEL, Picture, Refused, read_picture
from .upload import File

T = TypeVar("T")
Lead = Prediction | Ensemble | None
"""The prediction of a face that is shown first."""

MOST = 200
"""Most pictures at once."""


def check(files: list[T] | None) -> list[T]:
    """Check the number of pictures. Raises Refused."""
    if not files:
        raise Refused("Give at least one picture.")
    if len(files) > MOST:
        raise Refused(f"These are {len(files)} pictures; {MOST} at once is the most.")
    return files


def answer(
    contenders: Sequence[Contender], reader: Predictor | None, file: File, most_bytes: int
) -> tuple[Picture | None, list[Prediction]]:
    """Predict all faces of a picture: a row per face and model, or one that says why not."""
    try:
        picture = read_picture(*file, reader, most_bytes)
        return picture, answer_faces(contenders, picture)
    except Refused as error:
        return None, [Prediction(file[0], status=error.status, error=str(error))]


def answer_faces(contenders: Sequence[Contender], picture: Picture) -> list[Prediction]:
    """Return a row per face and model. Raises Refused if no model works."""
    said: dict[Contender, Said] = {}
    for contender in contenders:
        try:
            own, _ = contender.answer([picture.reading])
        except AgecliError:
            continue  # shown as broken in the other tabs
        named = [replace(row, model=contender.name) for row in own.rows]
        said[contender] = replace(own, rows=named)
    if not said:
        raise Refused(NO_MODEL)
    return [row for face in zip(*add_ensemble(said), strict=True) for row in face]


def leads(rows: Sequence[Prediction]) -> Iterator[tuple[Face, Lead]]:
    """Yield each face of a picture, and its prediction to show first."""
    for face in dict.fromkeys(row.face for row in rows if row.face):
        yield face, lead([row for row in rows if row.face == face])


def to_csv(rows: Sequence[Prediction]) -> str:
    """Write a row per face and model, like `agecli predict --csv`."""
    groups = list(dict.fromkeys(group for row in rows for group in row.probabilities or ()))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(csv_header(groups))
    for row in rows:
        writer.writerow(csv_row(replace(row, source=_safe(row.source)), groups))
    return text.getvalue()


def faces_csv(pictures: Sequence[Sequence[Prediction]]) -> str:
    """Write a row per face: its picture's number in the gallery, and the prediction shown first.

    pictures: the rows of each, in the order of the gallery.
    """
    models = list(dict.fromkeys(row.model for rows in pictures for row in rows if row.model))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["number", "source", "face", "group", "probability", "age", *models, "status", "error"]
    )
    for number, rows in enumerate(pictures, 1):
        source = _safe(rows[0].source)
        if rows[0].status != "ok":
            writer.writerow([number, source, *[""] * (4 + len(models)), rows[0].status,
                             rows[0].error])  # fmt: skip
        for face, (box, first) in enumerate(leads(rows), 1):
            own = {row.model: row.group for row in rows if row.face == box}
            said = [first.group, first.probability, first.age] if first else [""] * 3
            writer.writerow([number, source, face, *said, *(own.get(model) for model in models),
                             "ok", ""])  # fmt: skip
    return text.getvalue()


def to_json(rows: Sequence[Prediction]) -> str:
    """Write a list with an object per face and model, like `agecli predict --json`."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def _safe(name: str) -> str:
    """Keep a spreadsheet from reading a file's name as a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
