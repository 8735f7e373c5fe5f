"""What every layout has: a source to look into, and a parser from pictures' names to labels."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol
from zlib import crc32

from agecli.data.labels import Label, read_split
from agecli.data.sources import Member, Place, read
from agecli.data.tables import Form, Table, read_tables
from agecli.errors import DataError, ImageError

SAMPLE = 256
"""Pictures by which a layout is recognised."""
MOST_TABLES = 16
"""Tables of one set."""
MOST_BYTES = 1 << 26
"""Of a table that is found, and not named."""


@dataclass(frozen=True)
class Source:
    """A folder or an archive, and what it holds."""

    path: Path
    name: str
    members: Iterable[Member]
    """Its pictures, which may be gone through again."""
    others: Mapping[str, Place]
    """Its other files, by their names."""
    slices: Sequence[str] = ()
    """Columns of its tables that are kept."""

    @cached_property
    def sample(self) -> list[Member]:
        """Some of its pictures: the same ones, however it is packed."""
        return heapq.nsmallest(SAMPLE, self.members, key=lambda m: (crc32(m.id.encode()), m.id))

    def has(self, names: re.Pattern[str]) -> bool:
        """Return whether the ends of its pictures' paths fit a pattern, of half the sample."""
        fits = sum(names.search(self.place(member)) is not None for member in self.sample)
        return 2 * fits >= len(self.sample)

    def place(self, member: Member) -> str:
        """Return a picture's path, which begins with the source's name."""
        return f"{self.name}/{member.name}".replace("\\", "/")

    def path_of(self, member: Member) -> str:
        """Return a picture's own path, which no other source has."""
        return f"{self.path}/{member.name}"

    def tables(self, names: re.Pattern[str], forms: Sequence[Form]) -> Table | None:
        """Read the tables of these names, which lie in the source or beside it; None without any.

        Raises DataError for a table that cannot be read.
        """
        inside = [name for name in self.others if names.fullmatch(_base(name))]
        if inside:
            files = {name: self._table(name) for name in inside[: MOST_TABLES + 1]}
        else:
            files = _beside(self.path, names)
        if len(files) > MOST_TABLES:
            raise DataError(f"{self.path} has more than {MOST_TABLES} tables as {min(files)}")
        return read_tables(dict(sorted(files.items())), forms, self.slices) if files else None

    def _table(self, name: str) -> bytes:
        try:
            content = read(self.others[name], MOST_BYTES)
        except ImageError as error:
            raise DataError(f"{self.path / name}: {error}") from error
        if len(content) > MOST_BYTES:
            raise DataError(f"{self.path / name} has more than {MOST_BYTES >> 20} MiB")
        return content

    @cached_property
    def split_of(self) -> Callable[[Member], str]:
        """Return a function from a picture to the split in whose folder it lies, or "".

        Folders count as splits where there are several of them: one alone parts nothing.
        """
        known: dict[str, str] = {}  # by folder

        def split_of(member: Member) -> str:
            folder = self.place(member).rpartition("/")[0]
            if folder not in known:
                known[folder] = next(filter(None, map(read_split, folder.split("/"))), "")
            return known[folder]

        found = {split_of(member) for member in self.members} - {""}
        return split_of if len(found) > 1 else lambda member: ""


@dataclass(frozen=True)
class Layout:
    """How the pictures of one source carry their labels."""

    name: str
    by: str
    """By what it was recognised."""
    label_of: Callable[[Member], Label | str]
    """From a picture to its label, or to the reason why it is left out."""
    table: Table | None = None
    aligned: bool = False
    """Its files say that they are cropped and aligned as UTKFace's chips."""

    def count(self, members: Iterable[Member]) -> int:
        """Count the pictures that have a label."""
        return sum(isinstance(self.label_of(member), Label) for member in members)


class Reader(Protocol):
    """A function that reads a source in a layout; None where the source has another."""

    def __call__(self, source: Source) -> Layout | None:
        """Read it. Raises DataError for tables that cannot be read."""


def _base(name: str) -> str:
    return name.rpartition("/")[2].casefold()


def _beside(source: Path, names: re.Pattern[str]) -> dict[str, bytes]:
    folder = source.resolve().parent
    try:
        paths = [path for path in folder.iterdir() if names.fullmatch(path.name.casefold())]
        files = {}
        for path in sorted(paths)[: MOST_TABLES + 1]:
            if path.is_file():
                with path.open("rb") as file:
                    files[path.name] = file.read(MOST_BYTES + 1)
    except OSError:  # a folder that may not be listed holds no tables for us
        return {}
    if large := [name for name, content in files.items() if len(content) > MOST_BYTES]:
        raise DataError(f"{folder / large[0]} has more than {MOST_BYTES >> 20} MiB")
    return files
