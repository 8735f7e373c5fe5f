"""A line per image of a data set: manifest.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image: a line of manifest.csv, and the image of the same number in the store."""

    id: str
    source: str
    sha256: str
    age: int
    sex: str
    race: str
    cluster: int
    split: str
    excluded: str
    """Why the image is not used, or empty."""


COLUMNS = [field.name for field in fields(ManifestRow)]


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write manifest.csv, a line per image."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def read_manifest(path: Path) -> dict[str, tuple[str, ...]]:
    """Read manifest.csv as columns by name. Raises ValueError for another file."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if next(reader, None) != COLUMNS:
            raise ValueError("unknown columns")
        return dict(zip(COLUMNS, zip(*reader, strict=True), strict=True))
