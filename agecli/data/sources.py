"""Where pictures come from: folders and archives."""

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
    """A picture in a source: its name there, its id, which no top folder changes, and its place."""

    name: str
    id: str
    place: Place


class Members:
    """The pictures of a source, sorted by id, of each id the first; on disk, to be read again."""

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
    """What a source holds."""

    pictures: Members
    others: dict[str, Place]
    """The files that are no pictures, by their names."""
    closed: dict[str, str]
    """Folders in it that could not be opened, and why."""


def is_archive(path: Path) -> bool:
    """Return whether, by its name, a path is an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def name_of(source: Path) -> str:
    """Name a source: its folder, or its archive without the suffix, so that both give the same."""
    name = source.name if source.name not in ("", "..") else source.resolve().name
    suffix = next((end for end in ARCHIVES if name.lower().endswith(end)), "")
    return _printable(name[: len(name) - len(suffix)])


def list_members(source: Path, work: Path) -> Contents:
    """List what a folder or archive holds; one that is compressed is unpacked into a file.

    work: a folder for that, and for the list. The one top folder of an archive is no part of the
    ids, so that a folder and the archive made of it give the same. Raises DataError for a missing,
    cut or foreign source, and refuses an archive with a path that leads outside, or one that
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
    """Read a file; of more than `most` bytes, one byte more than these, to be refused.

    Raises ImageError, with the reason, where it cannot be read.
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
    """Tell a picture by its name, or else by its content, which takes longer."""
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
    if head[:4] in (b"PK\3\4", b"PK\5\6"):  # at its end there may be one that a tar holds
        return walk_zip(source, work)
    if is_archive(source):
        return walk_tar(source, head, work)
    raise DataError(f"{source} is neither a folder nor one of {', '.join(ARCHIVES)}")


def _walk_folder(source: Path) -> Iterator[Entry]:
    for path, error in walk_files(source):
        yield Entry(path.relative_to(source).as_posix(), error or Place(str(path)))


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Turn what the archive modules raise for damage into one DataError."""
    try:
        yield
    except (AgecliError, MemoryError):
        raise
    except Exception as error:  # of tarfile, zipfile and four decompressors: of any kind
        if isinstance(error, OSError) and error.errno:  # permissions, disk: not the archive
            raise
        raise DataError(
            f"{source} is cut short, damaged or encrypted ({error}): fetch it again"
        ) from error


def _refuse_outside(archive: Path, path: PurePosixPath) -> None:
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", path.as_posix()):
        raise DataError(f"{archive} has a file outside its folder ({path}): refused")


def _printable(name: str) -> str:
    """Escape what is no Unicode in a file's name, so that it can be written to a manifest."""
    return name.encode("utf-8", "backslashreplace").decode()
