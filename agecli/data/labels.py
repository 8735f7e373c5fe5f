"""What is known of the person in a picture: from UTKFace's file names, or from a CSV file."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agecli.ages import OLDEST, Age
from agecli.data.manifest import MOST_BYTES
from agecli.data.split import SPLITS
from agecli.errors import DataError, brief
from agecli.reading import read_text

SEXES = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "other")

_WELL_NAMED = re.compile(r"\d{1,3}_[01]_[0-4]_\d+\.jpg(\.chip\.jpg)?")
_READABLE = re.compile(r"(\d{1,3})_(?:([01])_([0-4])_|[0-4]_)\d{8,}")

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image"),
    "age": ("age",),
    "sex": ("sex", "gender"),
    "race": ("race", "ethnicity"),
    "split": ("split", "subset"),
    "person": ("person", "identity", "person_id", "subject"),
}
"""The names that a column may have."""

_WORDS: dict[str, dict[str, str]] = {
    "sex": {"m": "male", "f": "female", "man": "male", "woman": "female"}
    | {word: sex for code, sex in enumerate(SEXES) for word in (str(code), sex)},
    "race": {
        word: race for code, race in enumerate(RACES) for word in (str(code), race.casefold())
    },
    "split": dict(zip(SPLITS, SPLITS, strict=True))
    | {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"},
}
"""What words and UTKFace's codes mean, by column. Another sex or race is kept as it is."""
_SHOWN = 20  # lines that one error names


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of the person in a picture; an empty text is unknown."""

    age: Age
    sex: str = ""
    race: str = ""
    split: str = ""
    """Where a data set has its own splits."""
    person: str = ""
    """Whose pictures lie in one split."""
    fold: int = -1
    """From 0, where a data set has its own folds."""
    repaired: bool = False
    """The file's name did not follow the rule, but its age could be read."""


@dataclass(frozen=True)
class LabelFile:
    """A CSV file of labels, read."""

    path: Path
    labels: Mapping[str, Label]
    """By `key_of` the picture's path."""
    lines: Mapping[str, int]
    """Of the file, by the same."""
    unused: list[str]
    """Columns that mean nothing here."""


def label_of_name(name: str) -> Label | None:
    """Read UTKFace's age_sex_race_datetime.jpg.chip.jpg, or None where there is no age.

    Where sex or race is missing, which of the two it is cannot be told: both are unknown.
    """
    match = _READABLE.match(name)
    if not match or int(match[1]) > OLDEST:
        return None
    sex, race = (SEXES[int(match[2])], RACES[int(match[3])]) if match[2] else ("", "")
    age = int(match[1])
    return Label(Age(age, age), sex, race, repaired=not _WELL_NAMED.fullmatch(name))


def key_of(path: str) -> str:
    """Normalise a path, so that those of Windows (\\) and macOS (decomposed letters) are found."""
    return unicodedata.normalize("NFC", PurePosixPath(path.replace("\\", "/")).as_posix())


def read_labels(path: Path) -> LabelFile:
    """Read a CSV file with the columns path and age, and what else `COLUMNS` names.

    Its columns are parted by commas, semicolons or tabs. Of an age with a fraction the completed
    years count. Raises DataError that names the lines for ages that are no numbers from 0 to 120,
    for splits of other names, and for pictures with two labels.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (--csv)")
    try:
        text = read_text(path, MOST_BYTES).removeprefix("\ufeff")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    header = [name.casefold() for name in rows[0][1]] if rows else []
    columns = {
        what: next((header.index(name) for name in names if name in header), None)
        for what, names in COLUMNS.items()
    }
    if missing := [what for what in ("path", "age") if columns[what] is None]:
        raise DataError(
            f"{path} has no column {' and '.join(missing)}: its first line must name path, age "
            "and, if known, sex, race, split and person"
        )
    used = {what: column for what, column in columns.items() if column is not None}
    cells = {
        number: {what: row[at] if at < len(row) else "" for what, at in used.items()}
        for number, row in rows[1:]
    }
    if not cells:
        raise DataError(f"{path} has no rows: add a line per image")
    unused = [name for at, name in enumerate(rows[0][1]) if name and at not in used.values()]
    return _labelled(path, cells, unused)


def _labelled(path: Path, cells: dict[int, dict[str, str]], unused: list[str]) -> LabelFile:
    _refuse(path, cells, "path", lambda cell: bool(cell), "each line needs the path of a picture")
    _refuse(
        path, cells, "age", lambda cell: _years(cell) is not None,
        f"each line needs one age from 0 to {OLDEST}",
    )  # fmt: skip
    _refuse(
        path, cells, "split", lambda cell: cell.casefold() in _WORDS["split"],
        f"a split is one of {', '.join(SPLITS)}",
    )  # fmt: skip
    labels: dict[str, Label] = {}
    lines: dict[str, int] = {}
    for number, row in cells.items():
        label = Label(
            Age(*[_years(row["age"]) or 0] * 2), _meaning("sex", row), _meaning("race", row),
            split=_meaning("split", row), person=row.get("person", ""),
        )  # fmt: skip
        key = key_of(row["path"])
        if labels.setdefault(key, label) != label:
            raise DataError(
                f"{path} lines {lines[key]} and {number}: {row['path']} has two labels, of ages "
                f"{labels[key].age} and {label.age}: keep the right one"
            )
        lines.setdefault(key, number)
    return LabelFile(path, labels, lines, unused)


def _refuse(
    path: Path,
    cells: dict[int, dict[str, str]],
    column: str,
    fits: Callable[[str], bool],
    rule: str,
) -> None:
    """Raise DataError that names the lines, by their number, whose cell does not fit."""
    bad = [line for line, row in cells.items() if column in row and not fits(row[column])]
    if bad:
        more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        raise DataError(
            f"{path} line{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:_SHOWN]))}{more}: {rule}, "
            f"not {brief(repr(cells[bad[0]][column]))}"
        )


def _meaning(column: str, row: dict[str, str]) -> str:
    cell = row.get(column, "")
    return _WORDS[column].get(cell.casefold(), cell)


def _years(text: str) -> int | None:
    try:
        age = math.floor(float(text))
    except (ValueError, OverflowError):
        return None
    return age if 0 <= age <= OLDEST else None
