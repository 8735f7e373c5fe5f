"""Contents of tars and zips: each is read once, and unpacked on the way if compressed."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Self

from agecli.errors import DataError

_BOMB_RATIO, _BOMB_BYTES = 200, 2**30
_BLOCK, _BUFFER = 4096, 2**20
_PACKERS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma", b"\x5d\0\0\x80": "lzma"}
"""Modules that decompress a tar, by its first bytes."""
_MAX_HEADER, _MAX_DIRECTORY = 2**16, 2**26
"""Most bytes of a tar's name or extension header, and of a zip's directory."""
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class Place(NamedTuple):
    """The location of a file's bytes: in a file on the disk, which may be an archive."""

    path: str
    offset: int = 0
    size: int = -1
    """-1 for all of it."""


class Entry(NamedTuple):
    """A file in a source."""

    name: str
    place: Place | OSError
    """Why a folder could not be opened."""


def walk_tar(source: Path, head: bytes, work: Path) -> Iterator[Entry]:
    """Yield the files of a tar; if its first bytes say compressed, it is unpacked into a file."""
    claimed = _Claims(source)
    path = next(
        (
            _unpack(source, module, claimed.most, work)
            for start, module in _PACKERS.items()
            if head.startswith(start)
        ),
        source,
    )
    with tarfile.open(path, "r:", tarinfo=_StrictHeader) as archive:
        end = 0
        while member := archive.next():
            claimed.add(archive.offset - end)  # with its headers
            end = archive.offset
            if member.isfile():
                yield Entry(member.name, Place(str(path), member.offset_data, member.size))
            archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header
            archive.pax_headers = {}  # also the global ones


def _unpack(source: Path, module: str, most: int, work: Path) -> Path:
    """Decompress a tar. Raises DataError for one of more than `most` bytes."""
    path = new_file(work)
    with import_module(module).open(source) as packed, path.open("wb") as file:
        while block := packed.read(_BUFFER):
            file.write(block)
            if file.tell() > most:
                raise _bomb(source)
    return path


def walk_zip(source: Path, work: Path) -> Iterator[Entry]:
    """Yield the files of a zip, each unpacked after the previous one."""
    claimed = _Claims(source)
    path = new_file(work)
    with source.open("rb") as file, path.open("wb") as unpacked:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # before all of it is read
        if end and end[zipfile._ECD_SIZE] > _MAX_DIRECTORY:  # type: ignore[attr-defined]
            raise DataError(f"{source} has a directory of over {_MAX_DIRECTORY >> 20} MiB: refused")
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                claimed.add(info.file_size)
                if not info.is_dir():
                    begin = unpacked.tell()
                    with archive.open(info) as member:
                        shutil.copyfileobj(member, unpacked, _BUFFER)
                    unpacked.flush()
                    yield Entry(info.filename, Place(str(path), begin, unpacked.tell() - begin))


def new_file(folder: Path) -> Path:
    """Create an empty file with a unique name."""
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    return Path(name)


class _Claims:
    """The claimed unpacked size of an archive, which reading never exceeds."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.total = archive, 0
        self.most = max(_BOMB_BYTES, _BOMB_RATIO * archive.stat().st_size)

    def add(self, size: int) -> None:
        """Add a file's size, before it is read. Raises DataError if the sum is too large.

        Each counts for at least one block, as on a disk.
        """
        self.total += max(size, _BLOCK)
        if self.total > self.most:
            raise _bomb(self.archive)


def _bomb(archive: Path) -> DataError:
    return DataError(
        f"{archive} unpacks to more than {_BOMB_RATIO} times its size: refused as a zip bomb"
    )


class _StrictHeader(tarfile.TarInfo):
    """A tar header that has to be intact and small: tarfile takes a broken one for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a block. Raises tarfile.ReadError for names too long and the like."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            cls._refuse_sparse()
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Read a header. Raises tarfile.ReadError for a truncated or broken one."""
        if not archive.pax_headers and (plain := cls._plain(archive)):
            return plain
        try:
            header = super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise  # the real end: a block of zeros
            raise tarfile.ReadError(str(error)) from error
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise tarfile.ReadError(f"a broken header: {error}") from error
        if header.size < 0:
            raise tarfile.ReadError("a file of negative size")
        return header

    @classmethod
    def _plain(cls, archive: tarfile.TarFile) -> Self | None:
        """Read the header of a file without extensions, in a third of tarfile's time."""
        file = archive.fileobj
        assert file is not None
        begin = file.tell()
        block = file.read(tarfile.BLOCKSIZE)
        size, total = block[124:135], block[148:154]
        if (
            block[156:157] == tarfile.REGTYPE
            and block[345:346] == b"\0"  # no prefix of the name
            and block[135:136] in (b"\0", b" ")
            and size.isdigit()
            and total.isdigit()
            and int(total, 8) == sum(block) - sum(block[148:156]) + 8 * ord(" ")
        ):
            header = cls(block[:100].partition(b"\0")[0].decode(archive.encoding, archive.errors))
            header.size, header.offset = int(size, 8), begin
            header.offset_data = begin + tarfile.BLOCKSIZE
            archive.offset = header.offset_data + header._block(header.size)  # type: ignore[attr-defined]
            return header
        file.seek(begin)
        return None

    @staticmethod
    def _refuse_sparse(*_: object) -> None:
        """Replace tarfile's readers of sparse maps, which may be of any length."""
        raise tarfile.ReadError("a sparse file; pack it without --sparse")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse
