"""The labelled pictures of all sources, as they become rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agecli.data import sources
from agecli.data.labels import Label, LabelFile, key_of, label_of_name, read_labels
from agecli.errors import DataError


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture with its label."""

    id: str
    source: str
    path: Path
    """The folder or archive, of which `source` is the name."""
    name: str
    label: Label


class Listing(NamedTuple):
    """What the sources hold."""

    pictures: list[Listed]
    """Sorted by id: their order is their row in the data set."""
    unlabelled: int
    """Pictures without an age."""
    missing: int
    """Lines of the CSV file without a picture."""
    unused: list[str]
    """Columns of the CSV file that mean nothing here."""
    skipped: list[str]
    """Files that are no pictures."""
    closed: dict[str, str]
    """Folders that could not be opened, and why."""


def list_pictures(origins: list[Path], labels: Path | None) -> Listing:
    """List the labelled pictures; a source that has none was not meant as one.

    labels: a CSV file, in place of UTKFace's file names. Raises DataError for a source without
    pictures or labels, and for a line that names several pictures.
    """
    table = read_labels(labels) if labels else None
    found: dict[str, Listed] = {}  # by the line of the table
    listed: list[Listed] = []
    unlabelled = 0
    skipped: list[str] = []
    closed: dict[str, str] = {}
    for origin in {path.resolve(): path for path in origins}.values():
        source, contents = sources.name_of(origin), sources.list_members(origin)
        skipped += contents.others
        closed |= contents.closed
        before = len(listed)
        for name, id in contents.pictures:
            key = _line_of(table, source, id, name) if table else ""
            label = table.labels.get(key) if table else label_of_name(id.rpartition("/")[2])
            if label:
                listed.append(Listed(id, source, origin, name, label))
                if table and (other := found.setdefault(key, listed[-1])) is not listed[-1]:
                    raise _several(table, key, other, listed[-1])
        unlabelled += len(contents.pictures) - (len(listed) - before)
        if not contents.pictures:
            raise DataError(f"No pictures in {origin}: give a folder or archive that has some")
        if len(listed) == before and table:
            raise DataError(f"No picture of {origin} is named in {labels}: paths count from there")
        if len(listed) == before:
            raise DataError(
                f"No file name in {origin} starts with an age, as UTKFace's do "
                "(age_sex_race_datetime.jpg): give the ages with --csv"
            )
    listed.sort(key=lambda item: (item.id, item.source))
    missing, unused = (len(table.labels) - len(found), table.unused) if table else (0, [])
    return Listing(listed, unlabelled, missing, unused, skipped, closed)


def _line_of(table: LabelFile, source: str, id: str, name: str) -> str:
    """Return under what name the table has a picture: paths count from the source or from above."""
    keys = [key_of(path) for path in (f"{source}/{id}", id, name)]
    return next((key for key in keys if key in table.labels), keys[0])


def _several(table: LabelFile, key: str, one: Listed, other: Listed) -> DataError:
    return DataError(
        f"{table.path} line {table.lines[key]}: {key} is the name of several pictures, "
        f"{one.path / one.name} and {other.path / other.name}: name each with its folder, "
        f"as {one.source}/{key}, or prepare one source at a time"
    )
