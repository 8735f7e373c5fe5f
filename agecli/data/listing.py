"""The labelled pictures of all sources, as they become rows of a data set."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agecli.ages import Age
from agecli.data import slices, sources
from agecli.data.doubtful import Doubtful
from agecli.data.labels import Label
from agecli.data.layouts import csv, names
from agecli.data.layouts.base import Layout, Reader, Source
from agecli.data.layouts.recognition import NEEDS, first_fit, reader_of, recognise
from agecli.data.receipt import LeftOut, Origin
from agecli.data.sorting import SortedItems
from agecli.data.sources import Member, Place
from agecli.data.tables import Table
from agecli.errors import DataError, UsageError

MOST_NAMED = 10_000
"""Pictures that the receipt names for one reason."""


class Listed(NamedTuple):
    """A picture with its label."""

    id: str
    source: str
    origin: str
    """The folder or archive, of which `source` is the name."""
    place: Place
    label: Label


class Pictures:
    """The labelled pictures of all sources, sorted by id: their order is their row in the data set.

    They are on disk, and may be gone through again. kept: columns whose values their labels have.
    """

    def __init__(self, path: Path, kept: Sequence[str] = ()) -> None:
        self.kept = kept
        self._items, self._unknown = SortedItems(path), ("",) * len(kept)

    def add(self, source: Source, member: Member, label: Label) -> None:
        """Add a picture of a source."""
        self._items.add((
            member.id, source.name, len(self), str(source.path), *member.place, *label.age,
            label.sex, label.race, label.split, label.person, label.fold,
            *(label.slices or self._unknown),
        ))  # fmt: skip

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Listed]:
        for id, source, _, origin, path, offset, size, low, high, *known in self._items:
            label = Label(Age(low, high), *known[:5])
            if values := known[5:]:
                label = replace(label, slices=tuple(values))
            yield Listed(id, source, origin, Place(path, offset, size), label)


@dataclass(frozen=True)
class Asked:
    """What the user says of the labels, in place of what can be recognised."""

    labels: Path | None = None
    """A CSV file."""
    names: str | None = None
    """A pattern of file names, or the name of a known one."""
    layout: str | None = None
    slices: tuple[str, ...] = ()
    """Further columns of tables to keep."""


class Listing(NamedTuple):
    """What the sources hold."""

    pictures: Pictures
    origins: dict[Path, Origin]
    """How the labels of each source were read, and what was left out of it."""
    samples: dict[Path, list[Place]]
    """Some labelled pictures of each source that does not say that they are aligned."""
    missing: int
    """Rows of tables without a picture."""
    unused: list[str]
    """Columns of tables that mean nothing here."""
    repaired: list[str]
    """Ids of pictures whose names had to be mended."""
    skipped: list[str]
    """Files that are no pictures."""
    closed: dict[str, str]
    """Folders that could not be opened, and why."""
    doubtful: Doubtful = Doubtful([], [], 0)
    """Pictures whose labels are doubted."""


def list_pictures(origins: list[Path], work: Path, asked: Asked = Asked()) -> Listing:
    """List the labelled pictures of all sources, each by its own layout.

    work: a folder for the list, and for what compressed archives hold.
    What is asked for is tried on each source first, and must fit one of them. Raises DataError for
    a source without pictures or labels, for a row that names several pictures, and for slices of
    no column, or of too many values.
    """
    slices.check_names(asked.slices)
    readers = _readers(asked)
    listing = Listing(Pictures(work / "pictures", asked.slices), {}, {}, 0, [], [], [], {})
    read: dict[int, Table] = {}
    fits = not readers
    for origin in {path.resolve(): path for path in origins}.values():
        contents = sources.list_members(origin, work)
        if not contents.pictures:
            raise DataError(f"No pictures in {origin}: give a folder or archive that has some")
        source = Source(
            origin, sources.name_of(origin), contents.pictures, contents.others, asked.slices
        )
        layout = first_fit(source, readers)
        fits = fits or layout is not None
        layout = layout or recognise(source)
        if not layout:
            raise _unfit(asked, origin)
        _add(listing, source, layout)
        listing.closed.update(contents.closed)
        if layout.table:
            read[id(layout.table)] = layout.table
        files = set(layout.table.files if layout.table else [])
        listing.skipped.extend(sorted(contents.others.keys() - files))
    listing.repaired.sort()
    if not fits:
        raise _unfit(asked, origins[0])
    for table in read.values():
        listing.unused.extend(table.unused)
    slices.check_kept(asked.slices, [*read.values()])
    return listing._replace(missing=sum(table.missing for table in read.values()))


def _readers(asked: Asked) -> list[Reader]:
    """Return what reads the sources as the user asks for it."""
    if sum(value is not None for value in (asked.labels, asked.names, asked.layout)) > 1:
        raise UsageError("--csv, --names, --layout: give one of them; the others are recognised")
    if asked.labels:
        table = csv.read_labels(asked.labels, asked.slices)
        return [partial(csv.by_table, table=table, folder=asked.labels.resolve().parent)]
    if asked.names is not None:
        names.compile_pattern(asked.names)
        return [partial(names.read, pattern=asked.names)]
    return [] if asked.layout is None else [reader_of(asked.layout)]


def _add(listing: Listing, source: Source, layout: Layout) -> None:
    """Add a source's pictures, and what is left out of it."""
    before = len(listing.pictures)
    left_out: dict[str, list[str]] = {}  # by reason
    for member in source.members:
        label = layout.label_of(member)
        if isinstance(label, Label):
            listing.pictures.add(source, member, label)
            if label.repaired:
                listing.repaired.append(member.id)
        else:
            left_out.setdefault(label, []).append(member.id)
    listing.origins[source.path] = Origin(
        source.name, layout.name, layout.by, len(listing.pictures) - before,
        {
            reason: LeftOut(len(ids), heapq.nsmallest(MOST_NAMED, ids))
            for reason, ids in sorted(left_out.items())
        },
    )  # fmt: skip
    if not layout.aligned:
        labelled = (m.place for m in source.sample if isinstance(layout.label_of(m), Label))
        listing.samples[source.path] = list(labelled)


def _unfit(asked: Asked, origin: Path) -> DataError:
    """Say why a source has no labels."""
    if asked.labels:
        return DataError(
            f"No picture of {origin} is named in {asked.labels}: paths count from the source, from "
            "the folder above it, from the file's own folder, or are absolute"
        )
    if asked.names is not None:
        return DataError(
            f"No file name in {origin} fits --names {asked.names}: fields are in braces, and * is "
            "anything, as in '{identity}_{age}_*.jpg'"
        )
    if asked.layout is not None:
        return DataError(f"{origin} has not the layout {asked.layout}: {NEEDS[asked.layout]}")
    return DataError(
        f"No file name in {origin} starts with an age, as UTKFace's do (age_sex_race_datetime.jpg),"
        " and no folder's name is one: give the ages with --csv, or say with "
        "--names '{identity}_{age}.*' how file names carry them"
    )
