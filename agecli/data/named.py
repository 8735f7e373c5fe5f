"""Images that a file names by their ids, as they stand in manifest.csv."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agecli.data.split import Array
from agecli.errors import DataError, brief
from agecli.reading import read_bytes

MOST_BYTES = 1 << 32
"""Of a file with a row per image."""


class Found(NamedTuple):
    """Which images a file names."""

    places: Array
    """(N,) the row of each image in the file; -1 for one that it does not name."""
    unknown: int
    """Rows that name no image."""


@dataclass(frozen=True)
class Named:
    """The images that the rows of a file name: by ids, and sources where it has these."""

    file: str
    by_source: bool
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    """The row of each (source, id); of sources that the file does not name, an empty text."""

    def add(self, id: str, source: str) -> bool:
        """Add a row; return whether it is the first of its image."""
        number = len(self.rows)
        return self.rows.setdefault((source if self.by_source else "", id), number) == number

    def find(self, images: Iterable[tuple[str, str]]) -> Found:
        """Look for images (source, id) in the file. Raises DataError for an id of several."""
        places = np.array(
            [self.rows.get((source if self.by_source else "", id), -1) for source, id in images],
            dtype=np.int32,
        )  # (N,)
        numbers, counts = np.unique(places[places >= 0], return_counts=True)
        if (several := numbers[counts > 1]).size:
            id = [*self.rows][several[0]][1]
            raise DataError(
                f"{self.file}: {brief(id)} is the id of images of several sources: add the column "
                "source, as in manifest.csv"
            )
        return Found(places, len(self.rows) - len(numbers))


def read_file(option: str, path: Path) -> bytes:
    """Read the file that an option names. Raises DataError for none."""
    if not path.is_file():
        raise DataError(f"No such file: {path} ({option})")
    try:
        return read_bytes(path, MOST_BYTES)
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}): give another for {option}") from error
