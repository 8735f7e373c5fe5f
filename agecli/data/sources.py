"""Where pictures come from: folders and archives."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from agecli.data.images import MAX_BYTES, reason_of
from agecli.data.kinds import HEAD, PICTURES, is_hidden, kind_of, list_files
from agecli.errors import AgecliError, DataError, ImageError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz")
_BOMB_RATIO, _BOMB_BYTES = 200, 2**30
_BLOCK = 4096
_MAX_HEADER, _MAX_DIRECTORY = 2**16, 2**26
"""Bytes of a tar's name or other extension, and of all names in a zip."""
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class Member(NamedTuple):
    """A picture in a source: its place there, and its id, which no top folder changes."""

    name: str
    id: str


class Contents(NamedTuple):
    """What a source holds."""

    pictures: list[Member]
    others: list[str]
    """Names of the files that are no pictures."""
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


def list_members(source: Path) -> Contents:
    """List what a folder or archive holds, without unpacking anything.

    The one top folder of an archive is no part of the ids, so that a folder and the archive made
    of it give the same. Raises DataError for a missing, cut or foreign source, and refuses an
    archive with a path that leads outside, or one that unpacks to over 200 times its size.
    """
    pictures: dict[str, str] = {}  # name in the source: its path, normalised
    others: list[str] = []
    closed: dict[str, str] = {}
    archive = not source.is_dir()
    with _explained(source):
        for entry in _walk(source):
            path = PurePosixPath(entry.name.replace("\\", "/"))
            if archive:
                _refuse_outside(source, path)
            if any(map(is_hidden, path.parts)):
                continue
            name = _printable(path.as_posix())
            if isinstance(entry.content, OSError):
                closed[f"{name}/"] = reason_of(entry.content)
            elif _is_picture(entry.name, entry.content):
                pictures[entry.name] = name
            else:
                others.append(name)
    tops = {path.partition("/")[0] if "/" in path else "" for path in pictures.values()}
    skip = len(tops.pop()) + 1 if archive and len(tops) == 1 and tops != {""} else 0
    members = [Member(name, path[skip:]) for name, path in pictures.items()]
    return Contents(members, others, closed)


def read_members(source: Path, names: set[str]) -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield name and bytes of the named pictures, in the source's own order, one at a time.

    Files of more than MAX_BYTES come cut after one byte more, for the decoder to refuse; of a
    name that an archive holds twice, the first file comes. Of a folder's file that cannot be
    read, the reason comes.
    """
    wanted, folder = set(names), source.is_dir()
    with _explained(source):
        for entry in _walk(source):
            if entry.name in wanted and not isinstance(entry.content, OSError):
                wanted.remove(entry.name)
                try:
                    with entry.content() as file:
                        yield entry.name, file.read(MAX_BYTES + 1)
                except OSError as error:
                    if not folder:
                        raise
                    yield entry.name, ImageError(reason_of(error))


def read_others(source: Path, names: set[str], most: int) -> dict[str, bytes]:
    """Read the named files that are no pictures, by their names in `Contents.others`.

    Raises DataError for one of more than `most` bytes.
    """
    found: dict[str, bytes] = {}
    with _explained(source):
        for entry in _walk(source):
            name = _printable(PurePosixPath(entry.name.replace("\\", "/")).as_posix())
            if name in names and name not in found and not isinstance(entry.content, OSError):
                with entry.content() as file:
                    found[name] = file.read(most + 1)
                if len(found[name]) > most:
                    raise DataError(f"{source / name} has more than {most >> 20} MiB")
    return found


class _Entry(NamedTuple):
    name: str
    content: Callable[[], IO[bytes]] | OSError
    """Opens the file; of a folder that could not be opened, why."""


def _is_picture(name: str, content: Callable[[], IO[bytes]]) -> bool:
    """Tell a picture by its name, or else by its content, which takes longer."""
    if PurePosixPath(name).suffix.lower() in PICTURES:
        return True
    head = b""
    with suppress(OSError), content() as file:
        head = file.read(HEAD)
    return kind_of(name, head) == "picture"


def _walk(source: Path) -> Iterator[_Entry]:
    if source.is_dir():
        return _walk_folder(source)
    if not source.exists():
        raise DataError(f"No such file or folder: {source}")
    if _is_zip(source):
        return _walk_zip(source)
    if is_archive(source):
        return _walk_tar(source)
    raise DataError(f"{source} is neither a folder nor one of {', '.join(ARCHIVES)}")


def _is_zip(source: Path) -> bool:
    """Return whether a file begins as a zip: at its end there may be one that a tar holds."""
    with source.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def _walk_folder(source: Path) -> Iterator[_Entry]:
    found = list_files(source)
    for path in found.files:
        yield _Entry(path.relative_to(source).as_posix(), partial(path.open, "rb"))  # type: ignore[arg-type]
    for path, error in found.closed:
        yield _Entry(path.relative_to(source).as_posix(), error)


def _walk_tar(source: Path) -> Iterator[_Entry]:
    claimed = _Claims(source)
    with tarfile.open(source, "r|*", tarinfo=_StrictHeader) as archive:
        end = 0
        for member in archive:
            claimed.add(archive.offset - end)  # with its headers
            end = archive.offset
            if member.isfile():
                yield _Entry(member.name, partial(archive.extractfile, member))  # type: ignore[arg-type]
            archive.members = []  # type: ignore[attr-defined]  # or it keeps every header
            archive.pax_headers = {}  # those for all files, too


def _walk_zip(source: Path) -> Iterator[_Entry]:
    claimed = _Claims(source)
    with source.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # before it is read whole
        if end and end[zipfile._ECD_SIZE] > _MAX_DIRECTORY:  # type: ignore[attr-defined]
            raise DataError(f"{source} has a directory of over {_MAX_DIRECTORY >> 20} MiB: refused")
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                claimed.add(info.file_size)
                if not info.is_dir():
                    yield _Entry(info.filename, partial(archive.open, info))


class _Claims:
    """What an archive says that it unpacks to; none unpacks to more than it says."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.total = archive, 0
        self.most = max(_BOMB_BYTES, _BOMB_RATIO * archive.stat().st_size)

    def add(self, size: int) -> None:
        """Add a file's size, before it is read. Raises DataError where all is too much.

        On a disk, too, each takes a block at least.
        """
        self.total += max(size, _BLOCK)
        if self.total > self.most:
            raise DataError(
                f"{self.archive} unpacks to more than {_BOMB_RATIO} times its size: refused as a "
                "zip bomb"
            )


class _StrictHeader(tarfile.TarInfo):
    """A tar header that must be whole, and small: tarfile takes a broken one for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a block. Raises tarfile.ReadError for a longer name than there is, and the like."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            cls._refuse_sparse()
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Read a header. Raises tarfile.ReadError for one that is cut or broken."""
        try:
            header = super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise  # the real end: a block of zeros
            raise tarfile.ReadError(str(error)) from error
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise tarfile.ReadError(f"a broken header: {error}") from error
        if header.size < 0:
            raise tarfile.ReadError("a file of less than nothing")
        return header

    @staticmethod
    def _refuse_sparse(*_: object) -> None:
        """Stand in for tarfile's readers of maps, which may be of any length."""
        raise tarfile.ReadError("a sparse file; pack it without --sparse")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


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
