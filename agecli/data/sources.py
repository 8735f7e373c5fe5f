"""Where pictures come from: folders and archives, names that carry labels, CSV files."""

from __future__ import annotations

import csv
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agecli.data.images import MAX_BYTES, SUFFIXES
from agecli.errors import DataError

SEXES = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "other")
OLDEST = 120

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz")
_BOMB_RATIO, _BOMB_BYTES = 200, 2**30

_WELL_NAMED = re.compile(r"\d{1,3}_[01]_[0-4]_\d+\.jpg(\.chip\.jpg)?")
_READABLE = re.compile(r"(\d{1,3})_(?:([01])_([0-4])_|[0-4]_)\d{8,}")


@dataclass(frozen=True)
class Label:
    """What is known of the person in a picture; an empty text is unknown."""

    age: int
    sex: str = ""
    race: str = ""
    repaired: bool = False
    """The file's name did not follow the rule, but its age could be read."""


@dataclass(frozen=True)
class Member:
    """A picture in a source: its place there, and its id, which no top folder changes."""

    name: str
    id: str


def label_of_name(name: str) -> Label | None:
    """Read UTKFace's age_sex_race_datetime.jpg.chip.jpg, or None where there is no age.

    Where sex or race is missing, which of the two it is cannot be told: both are unknown.
    """
    match = _READABLE.match(name)
    if not match or int(match[1]) > OLDEST:
        return None
    sex, race = (SEXES[int(match[2])], RACES[int(match[3])]) if match[2] else ("", "")
    return Label(int(match[1]), sex, race, repaired=not _WELL_NAMED.fullmatch(name))


def read_labels(path: Path) -> dict[str, Label]:
    """Read a CSV file with the columns path and age, and optionally sex and race.

    Raises DataError that names the line for an age that is no whole number from 0 to 120.
    """
    labels: dict[str, Label] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := {"path", "age"} - set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} has no column {' and '.join(sorted(missing))}: its first line must "
                    "name path, age and, if known, sex and race"
                )
            for row in reader:
                try:
                    age = int(float(row["age"]))
                except (TypeError, ValueError, OverflowError):
                    age = -1
                if not 0 <= age <= OLDEST or not row["path"]:
                    raise DataError(
                        f"{path} line {reader.line_num}: needs a path and an age from 0 to "
                        f"{OLDEST}, has {row['path']!r} and {row['age']!r}"
                    )
                labels[PurePosixPath(row["path"]).as_posix()] = Label(
                    age, (row.get("sex") or "").strip(), (row.get("race") or "").strip()
                )
    except FileNotFoundError as error:
        raise DataError(f"No such file: {path} (--csv)") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    if not labels:
        raise DataError(f"{path} has no rows: add a line per image")
    return labels


def is_archive(path: Path) -> bool:
    """Tell by its name whether a path is an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def list_members(source: Path) -> list[Member]:
    """List the pictures of a folder or archive without unpacking anything.

    The one top folder of an archive is no part of the ids, so that a folder and the archive made
    of it give the same. Raises DataError for a missing, cut or foreign source, and refuses an
    archive with a path that leads outside, or one that unpacks to over 200 times its size.
    """
    walk = _walker(source)
    limit = None if source.is_dir() else max(_BOMB_BYTES, _BOMB_RATIO * source.stat().st_size)
    names, total = [], 0
    for name, size, _ in walk(source):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
            raise DataError(f"{source} has a file outside its folder ({name}): refused")
        total += size
        if limit and total > limit:
            raise DataError(
                f"{source} unpacks to more than {limit >> 20} MiB, over {_BOMB_RATIO} times its "
                "size: refused as a zip bomb"
            )
        if path.suffix.lower() in SUFFIXES and not any(p.startswith((".", "__")) for p in path.parts):
            names.append(name)
    tops = {name.split("/", 1)[0] if "/" in name else "" for name in names}
    skip = 0 if source.is_dir() or len(tops) != 1 or tops == {""} else len(tops.pop()) + 1
    return [Member(name, name[skip:]) for name in names]


def read_members(source: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the named pictures, in the source's own order, one at a time.

    Files of more than MAX_BYTES come cut after one byte more, for the decoder to refuse.
    """
    for name, _, read in _walker(source)(source):
        if name in names:
            yield name, read()


_Walk = Iterator[tuple[str, int, Callable[[], bytes]]]


def _walker(source: Path) -> Callable[[Path], _Walk]:
    if source.is_dir():
        return _walk_folder
    if not source.exists():
        raise DataError(f"No such file or folder: {source}")
    if zipfile.is_zipfile(source):
        return _walk_zip
    if is_archive(source):
        return _walk_tar
    raise DataError(f"{source} is neither a folder nor one of {', '.join(ARCHIVES)}")


def _walk_folder(source: Path) -> _Walk:
    for path in source.rglob("*"):
        if path.is_file():
            yield path.relative_to(source).as_posix(), 0, lambda path=path: _read(path.open("rb"))


def _walk_tar(source: Path) -> _Walk:
    try:
        with tarfile.open(source, "r|*") as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, member.size, lambda m=member: _read(archive.extractfile(m))
                archive.members = []  # type: ignore[attr-defined]  # or it keeps every header
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:  # permissions, disk: not the archive
            raise
        raise DataError(f"{source} is cut short or damaged ({error}): fetch it again") from error


def _walk_zip(source: Path) -> _Walk:
    try:
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda i=info: _read(archive.open(i))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"{source} is damaged or encrypted ({error}): fetch it again") from error


def _read(file) -> bytes:
    with file:
        return file.read(MAX_BYTES + 1)
