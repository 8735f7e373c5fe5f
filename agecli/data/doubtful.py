"""Images with doubtful labels: left out of training, evaluated like all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agecli.data.dialects import rows_of
from agecli.data.named import Named, read_file
from agecli.errors import DataError

OPTION = "--doubtful"


class Doubtful(NamedTuple):
    """The images of a data set that a file lists."""

    rows: list[int]
    images: list[tuple[str, str]]
    """Their sources and ids."""
    unknown: int
    """Lines that name no image."""


def read_doubtful(path: Path, images: Iterable[tuple[str, str]]) -> Doubtful:
    """Find the images (source, id) listed in a text file, an id per line, or in a CSV's column id.

    images: in the order of their rows. Raises DataError for a file that names none of them.
    """
    named = _read(path)
    rows, found = [], []
    for row, (source, id) in enumerate(images):
        if named.place(id, source) >= 0:
            rows.append(row)
            found.append((source, id))
    if not rows:
        raise DataError(
            f"{OPTION}: no line of {path} is the id of an image: ids are those of manifest.csv"
        )
    return Doubtful(rows, found, named.unknown)


def _read(path: Path) -> Named:
    content = read_file(OPTION, path)
    rows = rows_of(str(path), content)
    header = [title.casefold() for title in next(rows, (0, [""]))[1]]
    named = Named(str(path), "source" in header and "id" in header)
    if "id" in header:
        for _, row in rows:
            cells = dict(zip(header, row, strict=False))
            named.add(cells.get("id", ""), cells.get("source", ""))
    else:
        for id in _lines(content):
            named.add(id, "")
    return named


def _lines(content: bytes) -> Iterator[str]:
    """Yield the non-empty lines of a text: an id may contain any delimiter."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return filter(None, map(str.strip, lines))
