"""Files that a command writes: completely or not at all, without overwriting anything else."""

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
except ImportError:  # not POSIX: leftovers of killed processes stay
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, an exhausted quota, and a file at its size limit."""
PARTIAL = re.compile(r"\..*\.[0-9a-f]{12}\.partial", re.DOTALL)
EDGE = 4096
"""Bytes at a file's start and end that are searched for its mark."""

Ours = Callable[[Path], bool]
"""Returns whether a file was written by the command that is to overwrite it."""


@dataclass(frozen=True)
class Output:
    """A file that a command is going to write."""

    option: str
    """The option that names it: --csv."""
    path: Path
    ours: Ours = lambda path: False


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path] = ()) -> None:
    """Raise UsageError if an output would overwrite something else, or cannot be written.

    An output may be a free name, an empty file, or what the same command wrote earlier: not an
    input, link, folder or device, and not the same file as another output.
    """
    known: set[Path] = set()
    taken = [output for output in outputs if _is_taken(output, known)]
    if taken:
        read = {_identity(path) for path in inputs} - {None}
        for output in taken:
            _check_taken(output, read)


def _is_taken(output: Output, known: set[Path]) -> bool:
    """Return whether an output's name is taken; check the name itself."""
    path = output.path
    clear_leftovers(path.parent.absolute())
    if (name := path.absolute()) in known:
        raise UsageError(f"{output.option}: {path} would be written twice: choose another name")
    known.add(name)
    if os.path.lexists(path):
        return True
    if not path.parent.is_dir():
        raise UsageError(f"{output.option}: there is no folder {path.parent}: create it first")
    return False


def _check_taken(output: Output, read: set[Any]) -> None:
    path, option = output.path, output.option
    other = "choose another name"
    if _identity(path) in read:
        raise UsageError(f"{option}: {path} is an input, which would be overwritten: {other}")
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder: pass the name of a file")
    if path.exists() and not path.is_file():
        raise UsageError(
            f"{option}: {path} is a device or pipe: pass the name of a file; results are printed "
            "to standard output in any case"
        )
    if path.is_symlink():
        raise UsageError(f"{option}: {path} is a link: pass the name of a file")
    if path.stat().st_size and not output.ours(path):
        raise UsageError(f"{option}: {path} exists and was not written by this command: {other}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return a file's identity, whatever its names, or None if it does not exist."""
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def marked(mark: str) -> Ours:
    """Return a function that recognises a file by a text near its start or end."""

    def ours(path: Path) -> bool:
        with suppress(OSError), path.open("rb") as file:
            head = file.read(EDGE)
            file.seek(max(0, path.stat().st_size - EDGE))
            return mark.encode() in head + file.read(EDGE)
        return False

    return ours


@contextmanager
def whole(path: Path, *, needed: int = 0) -> Iterator[Path]:
    """Yield a temporary name to write a file under; it gets its own if the block succeeds.

    The name is in the same folder and unique to this call. If the block fails, an earlier file
    of that name stays, and nothing else is left. needed: bytes of the file, if known,
    for the DiskError that is raised if the disk is too full.
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
    """Yield an empty hidden folder beside a path for temporary files; it is removed afterwards."""
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
    """Write a file, completely or not at all. Raises DiskError if the disk is too full."""
    with whole(path, needed=len(content)) as partial:
        partial.write_bytes(content)


def growing_name(path: Path) -> Path:
    """Return the name that a file has while it grows."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def growing(path: Path) -> Iterator[Path]:
    """Yield path.partial to write a file under, piece by piece.

    It gets its own name if the block succeeds; if the block fails, or the process is
    killed, the partial file stays. Raises UsageError while another process writes it, DiskError
    if the disk is too full.
    """
    partial = growing_name(path)
    with room_for(path, partial=partial), partial.open("ab") as held:
        if fcntl is not None:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{path} is being written by another command: choose another name"
                ) from None
            except OSError:  # some file systems have no locks
                pass
        yield partial
        partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all; undecodable bytes become ?."""
    write_bytes(path, text.encode(errors="replace"))


@contextmanager
def room_for(path: Path, needed: int = 0, partial: Path | None = None) -> Iterator[None]:
    """Raise DiskError, with the file's name, if the block runs out of disk space.

    needed: bytes, if known. partial: the name under which the file is written.
    """
    try:
        yield
    except DiskError:  # of an inner file, with its own name
        raise
    except Exception as error:
        if (reason := _lack_of_room(error)) is not None:
            folder = next(parent for parent in path.absolute().parents if parent.is_dir())
            free = shutil.disk_usage(folder).free
            if partial and partial.exists():
                free += partial.stat().st_size
            wanted = f"{needed / 1e6:.1f} MB needed, " if needed else ""
            raise DiskError(
                f"No room for {path} ({reason}): {wanted}{free / 1e6:.1f} MB free; free some there"
            ) from error
        if partial and isinstance(error, OSError) and error.filename == str(partial):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _lack_of_room(error: BaseException | None) -> str | None:
    """Return the system's words for an error that a full disk has caused, however it is wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return str(error.strerror)
        error = error.__cause__ or error.__context__
    return None


@lru_cache
def clear_leftovers(folder: Path) -> None:
    """Remove from a folder, once, the partial files that killed processes have left."""
    if fcntl is None or not folder.is_dir():
        return
    for path in [path for path in folder.iterdir() if PARTIAL.fullmatch(path.name)]:
        with suppress(OSError):
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its writer lives
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(held)


def _partial(path: Path) -> Path:
    """Return a unique hidden name beside a path."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.partial")


def _lock(held: int) -> None:
    """Lock an open file, so that it is not a leftover while this process lives."""
    with suppress(OSError):  # some file systems have no locks
        fcntl.flock(held, fcntl.LOCK_EX)


def _hold(path: Path) -> IO[bytes]:
    """Create a file that `clear_leftovers` leaves alone while this process has it open."""
    while True:
        file = path.open("xb")  # with the modes that the umask leaves
        if fcntl is None:
            return file
        _lock(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was removed as a leftover before it was locked
