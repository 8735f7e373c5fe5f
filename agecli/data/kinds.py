"""Recognise images and videos, and list those in a folder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

Kind = Literal["picture", "video"]

FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF and HEIC"
PICTURES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".jp2", ".j2k", ".avif", ".heic", ".heif",
})  # fmt: skip
VIDEOS = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".m2ts",
    ".flv", ".ogv",
})  # fmt: skip
"""Without .ts and .mts, which are TypeScript's, too: such videos are recognised by content."""
HEAD = 512
"""Leading bytes of a file that show what it is."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_HEADS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n",
)  # fmt: skip
_PICTURE_BRANDS = frozenset({
    b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
})  # fmt: skip
_OTHER_BRANDS = (b"M4A", b"M4B", b"M4P", b"crx")
"""Suffixes of audio, and of a camera's raw images."""
_VIDEO_HEADS = (
    b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b"\0\0\x01\xba",
    b"\0\0\x01\xb3",
)  # fmt: skip
"""First bytes of Matroska and WebM, Windows Media, Flash, and MPEG-1 and -2."""
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""Box types of QuickTime files without a brand."""
_SOUND = (".wma", ".mka", ".weba")
"""Brands of audio in a container for video."""


class Files(NamedTuple):
    """The files in a folder, at any depth, sorted."""

    files: list[Path]
    closed: list[tuple[Path, OSError]]
    """Folders in it that could not be opened, and why."""


def kind_of(name: str, head: bytes) -> Kind | None:
    """Return whether a file is an image or a video, by its first bytes, or else by its suffix.

    None for all other files. A TIFF with a foreign suffix is a camera's raw image, which is
    """
    suffix = PurePath(name).suffix.lower()
    if (kind := _by_content(head, suffix)) and suffix not in _SOUND:
        return kind
    return "picture" if suffix in PICTURES else "video" if suffix in VIDEOS else None


def kind_of_file(path: Path) -> Kind | None:
    """Return the kind of a file; of a pipe or an unreadable file, by its name."""
    head = b""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                head = file.read(HEAD)
    return kind_of(path.name, head)


def list_files(folder: Path) -> Files:
    """List the files that `walk_files` yields, sorted."""
    found = Files([], [])
    for path, error in walk_files(folder):
        found.closed.append((path, error)) if error else found.files.append(path)
    found.files.sort()
    found.closed.sort(key=lambda pair: pair[0])
    return found


def walk_files(folder: Path) -> Iterator[tuple[Path, OSError | None]]:
    """Yield the files in a folder, in its subfolders and behind links, visiting each folder once.

    Hidden ones are left out. A folder that is both inside and behind a link is visited inside.
    One that cannot be opened is yielded with the error; for the folder itself, it is raised.
    """
    seen: set[tuple[int, int]] = set()
    folders = deque([folder])
    while folders:
        place = folders.popleft()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    path = Path(entry.path)
                    if entry.is_symlink() and path.is_dir():
                        folders.append(path)  # last: by then its target has been visited
                    elif entry.is_dir(follow_symlinks=False):
                        folders.appendleft(path)
                    elif path.is_file() or not path.exists():  # a row reports that a link is broken
                        yield path, None
        except OSError as error:
            if place == folder:
                raise
            yield place, error


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden by its own name."""
    return name.startswith(".") or name == "__MACOSX"  # the latter is what macOS adds to zips


def _by_content(head: bytes, suffix: str) -> Kind | None:
    if head.startswith(_TIFF):
        return "picture" if suffix in PICTURES or not suffix else None
    if head.startswith(_PICTURE_HEADS) or (head[:2] == b"BM" and head[6:10] == bytes(4)):
        return "picture"
    if head[:4] == b"RIFF":
        return {b"WEBP": "picture", b"AVI ": "video"}.get(head[8:12])  # type: ignore[return-value]
    if head[4:8] == b"ftyp":
        if head[8:12] in _PICTURE_BRANDS:
            return "picture"
        return None if head[8:12].startswith(_OTHER_BRANDS) else "video"
    if head.startswith(_VIDEO_HEADS) or head[4:8] in _QUICKTIME or _is_transport(head):
        return "video"
    return "video" if head[:4] == b"OggS" and b"theora" in head else None


def _is_transport(head: bytes) -> bool:
    """Return whether it is an MPEG transport stream, of 188-byte packets or a camera's 192."""
    marks = {188: head[0:HEAD:188], 192: head[4:HEAD:192]}
    return any(len(mark) == 3 and set(mark) == {0x47} for mark in marks.values())
