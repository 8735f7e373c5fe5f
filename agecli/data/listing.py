"""List the labelled images of all sources, which become the rows of a data set."""

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
"""Most images that the receipt names for one reason."""


class Listed(NamedTuple):
    """An image with its label."""

    id: str
    source: str
    origin: str
    """The folder or archive, named by `source`."""
    place: Place
    label: Label


class Pictures:
    """The labelled images of all sources, sorted by id: their order is that of the rows.

    They are on disk, and can be iterated repeatedly. kept: columns whose values labels include.
    """

    def __init__(self, path: Path, kept: Sequence[str] = ()) -> None:
        self.kept = kept
        self._items, self._unknown = SortedItems(path), ("",) * len(kept)

    def add(self, source: Source, member: Member, label: Label) -> None:
        """Add an image of a source."""
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
class LabelOptions:
    """How the labels are to be read, by the user's options instead of recognition."""

    labels: Path | None = None
    """A CSV file."""
    names: str | None = None
    """A pattern of file names, or the name of a known one."""
    layout: str | None = None
    slices: tuple[str, ...] = ()
    """More columns of tables to keep."""


class Listing(NamedTuple):
    """The contents of the sources."""

    pictures: Pictures
    origins: dict[Path, Origin]
    """How each source's labels were read, and what was left out."""
    samples: dict[Path, list[Place]]
    """Some labelled images of each source whose names do not say that they are aligned."""
    missing: int
    """Number of rows of tables without an image."""
    unused: list[str]
    """Columns of tables that are not used."""
    repaired: list[str]
    """Ids of images with irregular names."""
    skipped: list[str]
    """Number of files that are not images."""
    closed: dict[str, str]
    """Folders that could not be opened, and why."""
    doubtful: Doubtful = Doubtful([], [], 0)
    """Images with doubtful labels."""


def list_pictures(
    origins: list[Path], work: Path, options: LabelOptions = LabelOptions()
) -> Listing:
    """List the labelled images of all sources, each by its own layout.

    work: a folder for the list, and for unpacked archives.
    The layout asked for is tried on each source first, and has to fit one. Raises DataError for
    a source without images or labels, for a row that names several images, and for slices of
    no column, or of too many values.
    """
    slices.check_names(options.slices)
    readers = _readers(options)
    listing = Listing(Pictures(work / "pictures", options.slices), {}, {}, 0, [], [], [], {})
    read: dict[int, Table] = {}
    fits = not readers
    for origin in {path.resolve(): path for path in origins}.values():
        contents = sources.list_members(origin, work)
        if not contents.pictures:
            raise DataError(f"No images in {origin}: choose a folder or archive with images")
        source = Source(
            origin, sources.name_of(origin), contents.pictures, contents.others, options.slices
        )
        layout = first_fit(source, readers)
        fits = fits or layout is not None
        layout = layout or recognise(source)
        if not layout:
            raise _unfit(options, origin)
        _add(listing, source, layout)
        listing.closed.update(contents.closed)
        if layout.table:
            read[id(layout.table)] = layout.table
        files = set(layout.table.files if layout.table else [])
        listing.skipped.extend(sorted(contents.others.keys() - files))
    listing.repaired.sort()
    if not fits:
        raise _unfit(options, origins[0])
    for table in read.values():
        listing.unused.extend(table.unused)
    slices.check_kept(options.slices, [*read.values()])
    return listing._replace(missing=sum(table.missing for table in read.values()))


def _readers(options: LabelOptions) -> list[Reader]:
    """Return the readers that the user's options select."""
    if sum(value is not None for value in (options.labels, options.names, options.layout)) > 1:
        raise UsageError("--csv, --names and --layout exclude each other: pass one of them")
    if options.labels:
        table = csv.read_labels(options.labels, options.slices)
        return [partial(csv.by_table, table=table, folder=options.labels.resolve().parent)]
    if options.names is not None:
        names.compile_pattern(options.names)
        return [partial(names.read, pattern=options.names)]
    return [] if options.layout is None else [reader_of(options.layout)]


def _add(listing: Listing, source: Source, layout: Layout) -> None:
    """Add a source's images, and count what is left out."""
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


def _unfit(options: LabelOptions, origin: Path) -> DataError:
    """Return the error for a source without labels."""
    if options.labels:
        return DataError(
            f"No image of {origin} is named in {options.labels}: paths are relative to the source, "
            "to the folder above it or to the file's own folder, or absolute"
        )
    if options.names is not None:
        return DataError(
            f"No file name in {origin} matches --names {options.names}: fields are in braces, * is "
            "anything, such as '{identity}_{age}_*.jpg'"
        )
    if options.layout is not None:
        return DataError(
            f"{origin} does not have the layout {options.layout}: {NEEDS[options.layout]}"
        )
    return DataError(
        f"No file name in {origin} starts with an age as in UTKFace (age_sex_race_datetime.jpg),"
        " and no folder is named by one: pass the ages by --csv, or the pattern of names by "
        "--names '{identity}_{age}.*' "
    )
