"""Recognise the layout of a source by its contents."""

from __future__ import annotations

from collections.abc import Sequence

from agecli.data.layouts import adience, appa_real, csv, fairface, folders, utkface
from agecli.data.layouts.base import Layout, Reader, Source
from agecli.errors import UsageError

_BY_TABLES: dict[str, Reader] = {
    "adience": adience.read,
    "fairface": fairface.read,
    "appa-real": appa_real.read,
    "csv": csv.read,
}
_BY_NAMES: dict[str, Reader] = {"utkface": utkface.read, "folders": folders.read}
NEEDS = {
    "adience": adience.NEEDS,
    "fairface": fairface.NEEDS,
    "appa-real": appa_real.NEEDS,
    "csv": csv.NEEDS,
    "utkface": utkface.NEEDS,
    "folders": folders.NEEDS,
}
"""The names that --layout accepts, and what each layout requires."""


def recognise(source: Source) -> Layout | None:
    """Return the layout of a source, or None if none labels any of its images.

    A layout with a table takes precedence over names; of names, the one that labels most wins.
    """
    if layout := first_fit(source, list(_BY_TABLES.values())):
        return layout
    layouts = [layout for read in _BY_NAMES.values() if (layout := read(source))]
    for members in (source.sample, source.members):
        labelled = [layout.count(members) for layout in layouts]
        if any(labelled):
            return layouts[labelled.index(max(labelled))]
    return None


def first_fit(source: Source, readers: Sequence[Reader]) -> Layout | None:
    """Return the first layout that labels an image of a source, or None."""
    for read in readers:
        layout = read(source)
        if layout and (layout.count(source.sample) or layout.count(source.members)):
            return layout
    return None


def reader_of(layout: str) -> Reader:
    """Return the reader of a layout. Raises UsageError for another name."""
    readers = _BY_TABLES | _BY_NAMES
    if layout not in readers:
        raise UsageError(f"--layout: {layout!r} is not one of {', '.join(readers)}")
    return readers[layout]
