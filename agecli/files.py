"""Files that a command writes: nothing else is destroyed, and they are whole or not there."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from agecli.errors import DiskError, UsageError

try:
    import fcntl
except ImportError:  # no POSIX: leftovers of killed processes stay
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of a full disk, a used-up quota, and a file that may grow no further."""
PARTIAL = re.compile(r"\..*\.[0-9a-f]{12}\.partial", re.DOTALL)
EDGE = 4096
"""Bytes at a file's beginning and end in which its mark is."""

Ours = Callable[[Path], bool]
"""Returns whether a file was written by the command that is to write it again."""


@dataclass(frozen=True)
class Output:
    """A file that a command is going to write."""

    option: str
    """What names it on the command line: --csv."""
    path: Path
    ours: Ours = lambda path: False


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output would destroy something, or cannot be written.

    An output is a name that is free, an empty file, or what the same command wrote earlier: no
    input, link, folder or device, and not the same file as another output.
    """
    known: set[Path] = set()
    taken = [output for output in outputs if _is_taken(output, known)]
    if taken:
        read = {_identity(path) for path in inputs} - {None}
        for output in taken:
            _check_taken(output, read)


def _is_taken(output: Output, known: set[Path]) -> bool:
    """Return whether something has an output's name; check the name itself."""
    path = output.path
    clear_leftovers(path.parent.absolute())
    if (name := path.absolute()) in known:
        raise UsageError(f"{output.option}: {path} would be written twice: give another name")
    known.add(name)
    if os.path.lexists(path):
        return True
    if not path.parent.is_dir():
        raise UsageError(f"{output.option}: there is no folder {path.parent}: make it first")
    return False


def _check_taken(output: Output, read: set[Any]) -> None:
    path, option = output.path, output.option
    other = "give another name"
    if _identity(path) in read:
        raise UsageError(f"{option}: {path} is an input, which would be lost: {other}")
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        raise UsageError(
            f"{option}: {path} is a device or pipe: give the name of a file; what is printed goes "
            "to standard output by itself"
        )
    if path.is_symlink():
        raise UsageError(f"{option}: {path} is a link: give the name of a file")
    if path.stat().st_size and not output.ours(path):
        raise UsageError(f"{option}: {path} exists and is not of this command: {other}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever its names; None for what is not there."""
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def marked(mark: str) -> Ours:
    """Recognise a file by a text near its beginning or its end."""

    def ours(path: Path) -> bool:
        with suppress(OSError), path.open("rb") as file:
            head = file.read(EDGE)
            file.seek(max(0, path.stat().st_size - EDGE))
            return mark.encode() in head + file.read(EDGE)
        return False

    return ours


@contextmanager
def whole(path: Path, *, needed: int = 0) -> Iterator[Path]:
    """Yield another name to write a file under; it takes its own when the block ends well.

    The name is in the same folder and of this call alone. Where the block fails, an earlier file
    of that name stays, and nothing else is left. needed: bytes of the file, where they are known,
    for the DiskError that is raised where there is no room for them.
    """
    clear_leftovers(path.parent.absolute())
    partial = _partial(path)
    with room_for(path, needed, partial):
        try:
            with _hold(partial) as held:
                yield partial
                os.fsync(held.fileno())
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside a path, to make things in; it is gone after the block."""
    clear_leftovers(path.parent.absolute())
    folder = _partial(path)
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if held is not None:
            _lock(held)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all. Raises DiskError where there is no room for it."""
    with whole(path, needed=len(content)) as partial:
        partial.write_bytes(content)


def growing_name(path: Path) -> Path:
    """Return the name that a file has while it grows."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def growing(path: Path) -> Iterator[Path]:
    """Yield path.partial to write a file under, piece by piece.

    It takes its own name when the block ends well; where the block fails, or the process is
    killed, it stays with what it has. Raises UsageError while another process writes it, DiskError
    where there is no room.
    """
    partial = growing_name(path)
    with room_for(path, partial=partial), partial.open("ab") as held:
        if fcntl is not None:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{path} is being written by another command: give another name"
                ) from None
            except OSError:  # there are file systems without locks
                pass
        yield partial
        partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; what is no character becomes a ?."""
    write_bytes(path, text.encode(errors="replace"))


@contextmanager
def room_for(path: Path, needed: int = 0, partial: Path | None = None) -> Iterator[None]:
    """Raise DiskError, with the file's name, where the block finds no room on the disk.

    needed: bytes, where they are known. partial: the name under which the file is written.
    """
    try:
        yield
    except DiskError:  # of a file in it, with its own name
        raise
    except Exception as error:
        if (reason := _lack_of_room(error)) is not None:
            folder = next(parent for parent in path.absolute().parents if parent.is_dir())
            free = shutil.disk_usage(folder).free
            if partial and partial.exists():
                free += partial.stat().st_size
            wanted = f"{needed / 1e6:.1f} MB needed, " if needed else ""
            raise DiskError(
                f"No room for {path} ({reason}): {wanted}{free / 1e6:.1f} MB free; make room there"
            ) from error
        if partial and isinstance(error, OSError) and error.filename == str(partial):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _lack_of_room(error: BaseException | None) -> str | None:
    """Return the system's words where an error comes of a full disk, however it was wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return str(error.strerror)
        error = error.__cause__ or error.__context__
    return None


@lru_cache
def clear_leftovers(folder: Path) -> None:
    """Remove from a folder, once, what killed processes have left of files that they wrote."""
    if fcntl is None or not folder.is_dir():
        return
    for path in [path for path in folder.iterdir() if PARTIAL.fullmatch(path.name)]:
        with suppress(OSError):
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its writer lives
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(held)


def _partial(path: Path) -> Path:
    """Return a hidden name beside a path that nothing else has."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.partial")


def _lock(held: int) -> None:
    """Lock what is open, so that it is no leftover as long as this process lives."""
    with suppress(OSError):  # there are file systems without locks
        fcntl.flock(held, fcntl.LOCK_EX)


def _hold(path: Path) -> IO[bytes]:
    """Make a file that `clear_leftovers` leaves alone as long as this process has it open."""
    while True:
        file = path.open("xb")  # with the modes that the umask leaves
        if fcntl is None:
            return file
        _lock(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was taken for a leftover before it was locked
