"""CSV: a table with a row per image, named by --csv, or labels.csv in the source."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from agecli.data.labels import Label
from agecli.data.layouts import adience, appa_real, fairface
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.data.tables import Table, key_of, read_tables
from agecli.errors import DataError
from agecli.reading import read_bytes

NEEDS = "labels.csv in it with the columns path and age, or --csv"

FORMS = [adience.FORM, appa_real.FORM, fairface.FORM]
MOST_BYTES = 1 << 31
"""Most bytes of a table that is named: some 30 million rows."""
_LABELS = re.compile(r"labels\.csv")


def read(source: Source) -> Layout | None:
    """Read labels.csv, if the source has one."""
    inside = any(_LABELS.fullmatch(name.rpartition("/")[2].casefold()) for name in source.others)
    table = source.tables(_LABELS, FORMS) if inside else None
    return by_table(source, table, source.path) if table else None


def read_labels(path: Path, slices: Sequence[str] = ()) -> Table:
    """Read a table named by --csv, keeping the columns of slices, too.

    Raises DataError for a file that is not a table.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (--csv)")
    try:
        content = read_bytes(path, MOST_BYTES)
    except ValueError as error:
        raise DataError(f"{path} is not a CSV file ({error})") from error
    return read_tables({str(path): content}, FORMS, slices)


def by_table(source: Source, table: Table, folder: Path) -> Layout:
    """Match images by paths relative to the source, to its parent or to a folder, or absolute.

    folder: the one with the table.
    """
    own = key_of(source.name)
    above: list[str] = []
    if source.path.is_dir():
        absolute = source.path.resolve()
        relative = os.path.relpath(absolute, folder.resolve())
        above = [key_of(absolute.as_posix()), key_of(relative)]

    def label_of(member: Member) -> Label | str:
        name, id = key_of(member.name), key_of(member.id)
        keys = [f"{own}/{id}", id, name, *(f"{path}/{name}" for path in above)]
        if adience.PICTURE.search(source.place(member)):
            keys.append(adience.key_of_picture(source.place(member)))
        return table.label_of(dict.fromkeys(keys), source.path_of(member))

    return Layout("csv", table.name, label_of, table)
