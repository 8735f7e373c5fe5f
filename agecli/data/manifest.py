"""manifest.csv: a line per image of a data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agecli.ages import Age
from agecli.data.labels import MOST_SLICES, MOST_VALUES
from agecli.data.split import SPLITS, split_hash
from agecli.errors import brief
from agecli.reading import read_text

MOST_BYTES = 1 << 31
"""Most bytes of a manifest: some 15 million images."""


class ManifestRow(NamedTuple):
    """A line of manifest.csv, which describes the store's image of the same number."""

    id: str
    source: str
    sha256: str
    age: Age
    sex: str
    race: str
    person: str
    """The person, whose images all lie in one split; may be empty."""
    fold: int
    """From 0; -1 in a data set without folds."""
    cluster: int
    split: str
    excluded: str
    """Why the image is left out; empty if it is not."""


COLUMNS = [*ManifestRow._fields]
_EARLIER = [name for name in COLUMNS if name not in ("person", "fold")]


def write_manifest(path: Path, rows: Iterable[tuple[Any, ...]], slices: Sequence[str] = ()) -> str:
    """Write manifest.csv, a line per image, and return its SHA-256, which covers the order of rows.

    rows: as `ManifestRow`, followed by the values of the columns of `slices`.
    """
    with path.open("wb") as file:
        hashed = _Hashed(file)
        writer = csv.writer(hashed, lineterminator="\n")
        writer.writerow([*COLUMNS, *slices])
        writer.writerows(rows)
    return hashed.sha256.hexdigest()


class _Hashed:
    """Writes text to a file and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, sha256()

    def write(self, text: str) -> None:
        """Write text in UTF-8."""
        content = text.encode()
        self.sha256.update(content)
        self.file.write(content)


@dataclass(frozen=True)
class Columns:
    """The columns of a manifest: row i of each belongs to the store's image i."""

    ids: NDArray[np.str_]
    sources: NDArray[np.str_]
    ages: NDArray[np.integer]
    """(N, 2) first and last year of each label; equal where the age is known."""
    sexes: NDArray[np.str_]
    races: NDArray[np.str_]
    persons: NDArray[np.str_]
    folds: NDArray[np.integer]
    """From 0; -1 without folds."""
    clusters: NDArray[np.integer]
    splits: NDArray[np.str_]
    excluded: NDArray[np.str_]
    slices: dict[str, NDArray[np.str_]]
    """More columns that were kept, by name; empty texts are unknown."""


@dataclass(frozen=True)
class Manifest(Columns):
    """The contents of a manifest.csv."""

    sha256: str
    """SHA-256 of the file."""
    digests: NDArray[np.str_]
    """(N,) SHA-256 of each image's own file."""
    split_hash: str
    """The split hash computed from its rows."""

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read manifest.csv. Raises ValueError for another file or invalid values."""
        text = read_text(path, MOST_BYTES)
        lines = csv.reader(io.StringIO(text, newline=""))
        try:
            header = next(lines, [])
            known = COLUMNS if header[: len(COLUMNS)] == COLUMNS else _EARLIER
            if header[: len(known)] != known or len({*header}) < len(header):
                raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
            column = dict(zip(header, zip(*lines, strict=True), strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from error
        splits = column["split"]
        if unknown := set(splits) - {*SPLITS, ""}:
            raise ValueError(f"split has {unknown.pop()!r}, not {', '.join(SPLITS)}")
        count = len(splits)
        slices = {name: np.array(column[name]) for name in header[len(known) :]}
        _check_slices(slices)
        usable = [pair for pair in zip(column["sha256"], splits, strict=True) if pair[1]]
        return cls(
            sha256=sha256(text.encode()).hexdigest(),
            digests=np.array(column["sha256"]),
            ids=np.array(column["id"]),
            sources=np.array(column["source"]),
            ages=np.array([*map(Age.parse, column["age"])], dtype=np.int64).reshape(-1, 2),
            sexes=np.array(column["sex"]),
            races=np.array(column["race"]),
            persons=np.array(column.get("person", [""] * count)),
            folds=_whole_numbers("fold", column.get("fold", ["-1"] * count), -1, count),
            clusters=_whole_numbers("cluster", column["cluster"], -1, count),
            splits=np.array(splits),
            excluded=np.array(column["excluded"]),
            slices=slices,
            split_hash=split_hash([pair[0] for pair in usable], [pair[1] for pair in usable]),
        )


def _check_slices(slices: Mapping[str, NDArray[np.str_]]) -> None:
    if len(slices) > MOST_SLICES:
        raise ValueError(f"it has more than {MOST_SLICES} columns of slices")
    for name, values in slices.items():
        if len({*values.tolist()} - {""}) > MOST_VALUES:
            raise ValueError(f"{brief(name)} has more than {MOST_VALUES} values")


def _whole_numbers(name: str, texts: Sequence[str], low: int, high: int) -> NDArray[np.integer]:
    numbers = [*map(int, texts)]
    for number in (min(numbers, default=low), max(numbers, default=low)):
        if not low <= number <= high:
            raise ValueError(f"{name} has {brief(number, 20)}, not {low} to {high}")
    return np.array(numbers, dtype=np.int64)
