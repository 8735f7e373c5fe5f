"""Sources of images: folders and archives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agecli.data.archives import Entry, Place, new_file, walk_tar, walk_zip
from agecli.data.images import MAX_BYTES, reason_of
from agecli.data.kinds import HEAD, PICTURES, is_hidden, kind_of, walk_files
from agecli.data.sorting import SortedItems
from agecli.errors import AgecliError, DataError, ImageError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz")


class Member(NamedTuple):
    """An image in a source: its name there, its id (without the top folder), and its location."""

    name: str
    id: str
    place: Place


class Members:
    """The images of a source, sorted by id, the first of each id; on disk, iterable repeatedly."""

    def __init__(self, items: SortedItems, skipped: int) -> None:
        self._items, self._skipped = items, skipped

    def __bool__(self) -> bool:
        return len(self._items) > 0

    def __iter__(self) -> Iterator[Member]:
        last = None
        for path, _, name, *place in self._items:
            if path != last:
                yield Member(name, path[self._skipped :], Place(*place))
            last = path


class Contents(NamedTuple):
    """The contents of a source."""

    pictures: Members
    others: dict[str, Place]
    """The files that are not images, by name."""
    closed: dict[str, str]
    """Folders in it that could not be opened, and why."""


def is_archive(path: Path) -> bool:
    """Return whether a path is a readable archive by its name."""
    return path.name.lower().endswith(ARCHIVES)


def name_of(source: Path) -> str:
    """Return a source's name: its folder's, or its archive's without the suffix."""
    name = source.name if source.name not in ("", "..") else source.resolve().name
    suffix = next((end for end in ARCHIVES if name.lower().endswith(end)), "")
    return _printable(name[: len(name) - len(suffix)])


def list_members(source: Path, work: Path) -> Contents:
    """List the contents of a folder or archive; a compressed one is unpacked into a file.

    work: a folder for that, and for the list. An archive's single top folder is not part of the
    ids, so that a folder and its archive have equal ids. Raises DataError for a missing,
    truncated or foreign source, for an archive with a path that leads outside, and for one that
    unpacks to over 200 times its size.
    """
    pictures = SortedItems(new_file(work))
    others: dict[str, Place] = {}
    closed: dict[str, str] = {}
    tops: set[str] = set()
    archive = not source.is_dir()
    with _explained(source):
        for entry in _walk(source, work):
            path = PurePosixPath(entry.name.replace("\\", "/"))
            if archive:
                _refuse_outside(source, path)
            if any(map(is_hidden, path.parts)):
                continue
            name = _printable(path.as_posix())
            if isinstance(entry.place, OSError):
                closed[f"{name}/"] = reason_of(entry.place)
            elif _is_picture(entry.name, entry.place):
                pictures.add((name, len(pictures), entry.name, *entry.place))
                if len(tops) < 2:
                    tops.add(name.partition("/")[0] if "/" in name else "")
            else:
                others.setdefault(name, entry.place)
    skipped = len(tops.pop()) + 1 if archive and len(tops) == 1 and tops != {""} else 0
    return Contents(Members(pictures, skipped), others, closed)


def read(place: Place, most: int = MAX_BYTES) -> bytes:
    """Read a file, at most one byte more than `most`, by which the caller knows it is too large.

    Raises ImageError, with the reason, if it is unreadable.
    """
    try:
        with open(place.path, "rb", buffering=0) as file:  # noqa: PTH123  # half the time of Path's
            if place.size < 0:
                size = os.fstat(file.fileno()).st_size
                return file.read(min(size, most + 1))
            file.seek(place.offset)
            return file.read(min(place.size, most + 1))
    except OSError as error:
        raise ImageError(reason_of(error)) from error


def _is_picture(name: str, place: Place) -> bool:
    """Return whether a file is an image, by its name or else, more slowly, by its content."""
    if name[name.rfind(".") :].lower() in PICTURES:
        return True
    head = b""
    with suppress(ImageError):
        head = read(place._replace(size=HEAD if place.size < 0 else min(HEAD, place.size)))
    return kind_of(name, head) == "picture"


def _walk(source: Path, work: Path) -> Iterator[Entry]:
    if source.is_dir():
        return _walk_folder(source)
    if not source.exists():
        raise DataError(f"No such file or folder: {source}")
    with source.open("rb") as file:
        head = file.read(6)
    if head[:4] in (b"PK\3\4", b"PK\5\6"):  # not at its end, where a tar may contain a zip
        return walk_zip(source, work)
    if is_archive(source):
        return walk_tar(source, head, work)
    raise DataError(f"{source} is neither a folder nor one of {', '.join(ARCHIVES)}")


def _walk_folder(source: Path) -> Iterator[Entry]:
    for path, error in walk_files(source):
        yield Entry(path.relative_to(source).as_posix(), error or Place(str(path)))


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Turn any error of the archive modules about damage into a DataError."""
    try:
        yield
    except (AgecliError, MemoryError):
        raise
    except Exception as error:  # from tarfile, zipfile and four decompressors: of any kind
        if isinstance(error, OSError) and error.errno:  # permissions, disk: not the archive
            raise
        raise DataError(
            f"{source} is cut short, damaged or encrypted ({error}): download it again"
        ) from error


def _refuse_outside(archive: Path, path: PurePosixPath) -> None:
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", path.as_posix()):
        raise DataError(f"{archive} has a file outside its folder ({path}): refused")


def _printable(name: str) -> str:
    """Escape what is not Unicode in a file's name, so that a manifest can contain it."""
    return name.encode("utf-8", "backslashreplace").decode()
