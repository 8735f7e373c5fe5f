"""The parts of every layout: a source to read, and a function from image names to labels."""

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
"""Images sampled to recognise a layout."""
MOST_TABLES = 16
"""Most tables of one source."""
MOST_BYTES = 1 << 26
"""Most bytes of a table that is found rather than named."""


@dataclass(frozen=True)
class Source:
    """A folder or an archive, and its contents."""

    path: Path
    name: str
    members: Iterable[Member]
    """Its images, which can be iterated repeatedly."""
    others: Mapping[str, Place]
    """Its other files, by name."""
    slices: Sequence[str] = ()
    """Columns of its tables to keep."""

    @cached_property
    def sample(self) -> list[Member]:
        """Return some of its images, the same ones however it is packed."""
        return heapq.nsmallest(SAMPLE, self.members, key=lambda m: (crc32(m.id.encode()), m.id))

    def has(self, names: re.Pattern[str]) -> bool:
        """Return whether at least half of the sampled images' paths end in a pattern."""
        fits = sum(names.search(self.place(member)) is not None for member in self.sample)
        return 2 * fits >= len(self.sample)

    def place(self, member: Member) -> str:
        """Return an image's path, which begins with the source's name."""
        return f"{self.name}/{member.name}".replace("\\", "/")

    def path_of(self, member: Member) -> str:
        """Return an image's path, which is unique among all sources."""
        return f"{self.path}/{member.name}"

    def tables(self, names: re.Pattern[str], forms: Sequence[Form]) -> Table | None:
        """Read the tables with these names in the source or beside it; return None without any.

        Raises DataError for an unreadable table.
        """
        inside = [name for name in self.others if names.fullmatch(_base(name))]
        if inside:
            files = {name: self._table(name) for name in inside[: MOST_TABLES + 1]}
        else:
            files = _beside(self.path, names)
        if len(files) > MOST_TABLES:
            raise DataError(f"{self.path} has more than {MOST_TABLES} tables such as {min(files)}")
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
        """Return a function from an image to the split in whose folder it lies, or "".

        Folders count as splits only if there are several of them.
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
    """How the images of one source are labelled."""

    name: str
    by: str
    """What it was recognised by."""
    label_of: Callable[[Member], Label | str]
    """From an image to its label, or to the reason why it is left out."""
    table: Table | None = None
    aligned: bool = False
    """Whether its file names say that the images are aligned chips, as UTKFace's."""

    def count(self, members: Iterable[Member]) -> int:
        """Count the images that have a label."""
        return sum(isinstance(self.label_of(member), Label) for member in members)


class Reader(Protocol):
    """A function that reads a source in a layout, or returns None if the source has another."""

    def __call__(self, source: Source) -> Layout | None:
        """Read a source. Raises DataError for unreadable tables."""


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
    except OSError:  # a folder that cannot be listed counts as having no tables
        return {}
    if large := [name for name, content in files.items() if len(content) > MOST_BYTES]:
        raise DataError(f"{folder / large[0]} has more than {MOST_BYTES >> 20} MiB")
    return files
