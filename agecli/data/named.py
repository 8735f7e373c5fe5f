"""Find the images that a file lists by their ids in manifest.csv."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agecli.errors import DataError, brief
from agecli.reading import read_bytes

MOST_BYTES = 1 << 32
"""Most bytes of a file with a row per image."""


@dataclass(frozen=True)
class Named:
    """The images that the rows of a file name by id, and by source if the file has that column."""

    file: str
    by_source: bool
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    """The row of each (source, id); the source is empty if the file has none."""
    _found: dict[int, str] = field(default_factory=dict)

    def add(self, id: str, source: str) -> bool:
        """Add a row; return whether it is the first of its image."""
        number = len(self.rows)
        return self.rows.setdefault((source if self.by_source else "", id), number) == number

    def place(self, id: str, source: str) -> int:
        """Return the row of an image; -1 for none. Raises DataError if several match."""
        number = self.rows.get((source if self.by_source else "", id), -1)
        if number >= 0 and self._found.setdefault(number, source) != source:
            raise DataError(
                f"{self.file}: {brief(id)} is the id of images in several sources: add the column "
                "source, as in manifest.csv"
            )
        return number

    @property
    def unknown(self) -> int:
        """Count the rows that match no image."""
        return len(self.rows) - len(self._found)


def read_file(option: str, path: Path) -> bytes:
    """Read the file that an option names. Raises DataError if there is none."""
    if not path.is_file():
        raise DataError(f"No such file: {path} ({option})")
    try:
        return read_bytes(path, MOST_BYTES)
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}): choose another for {option}") from error
