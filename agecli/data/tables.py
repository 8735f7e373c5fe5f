"""Tables of labels: CSV files of many dialects, a row per image."""

from __future__ import annotations

import posixpath
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import PurePath

from agecli.ages import OLDEST, Age
from agecli.data.dialects import Row, rows_of
from agecli.data.labels import UNKNOWN, Label, read_age, read_fold, read_split, read_word
from agecli.data.split import SPLITS
from agecli.errors import DataError, brief

COLUMNS = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
    ),
    "age": ("age", "real_age"),
    "range": ("age_range", "age_group", "age range", "age group", "agegroup"),
    "sex": ("sex", "gender"),
    "race": ("race", "ethnicity"),
    "split": ("split", "subset"),
    "fold": ("fold",),
    "person": ("person", "identity", "person_id", "user_id", "subject"),
}  # fmt: skip
"""The names that a column may have."""

_SHOWN = 20  # lines named in one error
_LONGEST = 100
"""Most characters of a sex, race, person or slice."""

_AGE_RULE = f"each line needs one age from 0 to {OLDEST}, or a range such as 25-32"
_RULES = {
    "path": "each line needs the path of an image",
    "split": f"a split is one of {', '.join(SPLITS)}",
    "fold": "a fold is a number from 0 to 999",
    "both": "an age has to lie in its own range",
    "long": f"a sex, race, person or slice has at most {_LONGEST} characters",
}


@dataclass(frozen=True)
class Form:
    """The meaning of the columns and of the name of a set's table."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: COLUMNS)
    key: str = "{path}"
    """The columns that identify a row's image."""
    file: re.Pattern[str] = re.compile("")
    """Pattern of the table's own name, with groups named like columns."""
    blank_ages: bool = False
    """Whether a row may have no age: its image is then left out."""

    def constants(self, name: str) -> dict[str, str]:
        """Return the values that the table's name sets for all its rows."""
        match = self.file.fullmatch(PurePath(name).name.casefold())
        return match.groupdict() if match else {}

    def places(self, header: Sequence[str]) -> dict[str, int]:
        """Return the positions of the known columns."""
        found = {
            what: next((header.index(name) for name in names if name in header), -1)
            for what, names in self.columns.items()
        }
        return {what: place for what, place in found.items() if place >= 0}

    def missing(self, name: str, header: Sequence[str]) -> list[str]:
        """Return the columns that a table lacks."""
        known = self.places(header).keys() | self.constants(name).keys()
        needed = [what for _, what, _, _ in string.Formatter().parse(self.key) if what]
        lacking = [what for what in needed if what not in known]
        return lacking if {"age", "range"} & known else [*lacking, "age"]


@dataclass(frozen=True)
class Table:
    """Labels of images, read from one or several files."""

    name: str
    """The files' name in messages."""
    files: list[str] = field(default_factory=list)
    labels: dict[str, Label | str] = field(default_factory=dict)
    """By `key_of` an image's path; a text is the reason why an image is left out."""
    unused: list[str] = field(default_factory=list)
    """Columns that are not used."""
    slices: set[str] = field(default_factory=set)
    """Columns that are kept, by the names asked for."""
    _lines: dict[str, tuple[str, int]] = field(default_factory=dict)
    _found: dict[str, str] = field(default_factory=dict)

    def label_of(self, keys: Iterable[str], picture: str) -> Label | str:
        """Return an image's label under any of several keys, or the reason why it has none.

        Raises DataError for a row that names several images, and for several rows of one image
        that disagree.
        """
        label: Label | str = f"not in {self.name}"
        first = ""
        for key in keys:
            if key not in self.labels:
                continue
            if first and self.labels[key] != label:
                raise DataError(self._conflict(first, key, self.labels[key], self._lines[key]))
            if (other := self._found.setdefault(key, picture)) != picture:
                raise DataError(
                    f"{self.line(key)}: {key} is the name of several images, {other} and "
                    f"{picture}: use paths with folders, or prepare one folder at a time"
                )
            first, label = key, self.labels[key]
        return label

    @property
    def missing(self) -> int:
        """Count the rows that match no image."""
        return len(self.labels) - len(self._found)

    def line(self, key: str) -> str:
        """Return the file and line of a key."""
        file, number = self._lines[key]
        return f"{file} line {number}"

    def add(self, key: str, label: Label | str, file: str, line: int) -> str:
        """Add a row; return the conflict if another row of its image disagrees."""
        if self.labels.setdefault(key, label) != label:
            return self._conflict(key, key, label, (file, line))
        self._lines.setdefault(key, (file, line))
        return ""

    def _conflict(self, first: str, key: str, label: Label | str, line: tuple[str, int]) -> str:
        here = self._lines[first]
        where = f"{here[0]} lines {here[1]} and {line[1]}"
        if here[0] != line[0]:
            where = f"{here[0]} line {here[1]} and {line[0]} line {line[1]}"
        one, other = (
            which.age if isinstance(which, Label) else "none"
            for which in (self.labels[first], label)
        )
        what = "" if one == other else f", of ages {one} and {other}"
        return f"{where}: {brief(key)} has two labels{what}: keep the right one"


def key_of(path: str) -> str:
    """Normalise a path, so that those of Windows (\\) and macOS (decomposed letters) match."""
    return unicodedata.normalize("NFC", posixpath.normpath(path.replace("\\", "/")))


def read_tables(
    files: Mapping[str, bytes], forms: Sequence[Form], slices: Sequence[str] = ()
) -> Table:
    """Read tables of labels by name; each takes the first form whose columns it has.

    slices: more columns to keep.

    Columns are separated by commas, semicolons, tabs or bars. Of a fractional age the completed
    years count. Raises DataError naming all faulty lines: with invalid ages, or ages
    outside their own range, with unknown splits and folds, and with two labels for one
    image.
    """
    names = [PurePath(name).name for name in files]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    table, faults = Table(names[0] + more, list(files)), Faults()
    for name, content in files.items():
        rows = rows_of(name, content)
        titles = next(rows, (0, [""]))[1]
        header = [title.casefold() for title in titles]
        form = next((form for form in forms if not form.missing(name, header)), forms[-1])
        if missing := form.missing(name, header):
            raise DataError(
                f"{name} has no column {' and '.join(missing)}: its first line must name path, age "
                "and, if known, sex, race, split, fold and person"
            )
        places = form.places(header)
        first = list(islice(rows, 1))
        if {"age", "range"} <= places.keys() and not _has_range(first, places["range"]):
            del places["range"]
        kept = {title: header.index(title.casefold()) for title in slices
                if title.casefold() in header}  # fmt: skip
        table.slices.update(kept)
        places |= kept
        cells = _cells(chain(first, rows), places, form.constants(name))
        _add_rows(table, faults, name, cells, form, slices)
        unused = (title for place, title in enumerate(titles) if place not in places.values())
        table.unused.extend(title for title in unused if title and title not in table.unused)
    if faults.found or faults.conflicts:
        raise DataError(str(faults))
    if not table.labels:
        raise DataError(f"{table.name} has no rows: add a line per image")
    return table


def _has_range(rows: list[Row], place: int) -> bool:
    """Return whether a column beside the ages has ranges, rather than words such as "adult"."""
    return all(place < len(row) and read_age(row[place]) is not None for _, row in rows)


def _cells(
    rows: Iterable[Row], places: Mapping[str, int], constants: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, str]]]:
    for line, row in rows:
        said = {what: row[place] if place < len(row) else "" for what, place in places.items()}
        yield line, {**constants, **said}


def _add_rows(
    table: Table,
    faults: Faults,
    name: str,
    rows: Iterable[tuple[int, dict[str, str]]],
    form: Form,
    slices: Sequence[str],
) -> None:
    for line, cells in rows:
        label: Label | Fault | str | None = _label(cells, slices)
        if label is None and form.blank_ages:
            label = f"no age in {PurePath(name).name}"
        elif label is None:
            label = Fault(_AGE_RULE, cells.get("age", ""))
        if isinstance(label, Fault):
            faults.add(label, name, line)
            continue
        key = key_of(form.key.format_map(cells))
        if conflict := table.add(key, label, name, line):
            faults.conflicts.append(conflict)


@dataclass(frozen=True)
class Fault:
    """An error in a row."""

    rule: str
    cell: str


def _label(cells: Mapping[str, str], slices: Sequence[str]) -> Label | Fault | None:
    """Return a row's label, what is wrong with it, or None if it has no age."""
    if "path" in cells and not cells["path"]:
        return Fault(_RULES["path"], "")
    split, fold = read_split(cells.get("split", "")), read_fold(cells.get("fold", ""))
    if "split" in cells and not split:
        return Fault(_RULES["split"], cells["split"])
    if cells.get("fold") and fold < 0:
        return Fault(_RULES["fold"], cells["fold"])
    texts = [cells.get(what, "") for what in ("age", "range")]
    texts = [text for text in texts if text.casefold() not in UNKNOWN]
    ages: list[Age] = []
    for text in texts:
        age = read_age(text)
        if age is None:
            return Fault(_AGE_RULE, text)
        ages.append(age)
    if not ages:
        return None
    if not (ages[-1].low <= ages[0].low and ages[0].high <= ages[-1].high):
        return Fault(_RULES["both"], f"{texts[0]} in {texts[1]}")
    words = [cells.get(what, "") for what in ("sex", "race", "person", *slices)]
    if long := [word for word in words if len(word) > _LONGEST]:
        return Fault(_RULES["long"], long[0])
    columns = ("sex", "race", "person", *["slice"] * len(slices))
    sex, race, person, *values = map(read_word, columns, words)
    return Label(ages[0], sex, race, split, person, fold, slices=tuple(values))


class Faults:
    """The errors in the rows of all files."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[tuple[int, str]]] = {}  # by file and rule
        self.conflicts: list[str] = []

    def add(self, fault: Fault, file: str, line: int) -> None:
        """Add a row's fault."""
        self.found.setdefault((file, fault.rule), []).append((line, fault.cell))

    def __str__(self) -> str:
        """Return all of them in one line."""
        said = [
            f"{file} line{'s' * (len(bad) > 1)} "
            + ", ".join(f"{line} ({brief(repr(cell), 30)})" for line, cell in bad[:_SHOWN])
            + f"{_more(bad)}: {rule}"
            for (file, rule), bad in self.found.items()
        ]
        return "; ".join([*said, *self.conflicts[:_SHOWN]]) + _more(self.conflicts)


def _more(items: Sequence[object]) -> str:
    return f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
