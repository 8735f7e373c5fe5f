"""A data set's folder, which gets its name only when it is complete."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agecli.data import store
from agecli.errors import DataError, UsageError
from agecli.files import room_for

OWN = (*store.FILES, "features")
"""The contents of a data set's folder, which --force may replace."""


def is_dataset(folder: Path) -> bool:
    """Return whether a folder is a data set made by `prepare`."""
    return (folder / store.RECEIPT).is_file() and (folder / store.MANIFEST).is_file()


def check_free(out: Path, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise DataError if `out` is in use; `force` allows replacing a data set.

    UsageError if what would be replaced contains an input, or anything that `prepare` does not
    make. A data set that a killed run has left without its name gets it back first.
    """
    target = out.resolve()
    if target == Path.cwd():
        raise UsageError("OUT is the current folder: choose a folder for the data set")
    _put_back(target)
    if is_dataset(out):
        if not force:
            raise DataError(f"{out} is already a data set: --force replaces it")
        if held := [path for path in inputs if path.resolve().is_relative_to(target)]:
            raise UsageError(f"--force: {held[0]} is in {out}, which would be replaced: move it")
        if foreign := sorted(path.name for path in out.iterdir() if path.name not in OWN):
            raise UsageError(f"--force: {out} contains {foreign[0]}, which would be lost: move it")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not a data set: choose another OUT")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder to fill: it becomes `out` if the block succeeds, else it is removed.

    Leftovers of a killed run beside `out` (.OUT.partial and .OUT.lock) are removed. Raises
    DataError if another process is writing the same `out`.
    """
    from filelock import Timeout

    target = out.resolve()  # beside a link's target, on the disk that was meant
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.partial")
    try:
        with room_for(out), _locked(target):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                folder.mkdir()
                yield folder
                _replace(folder, target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise DataError(f"{out} is being written by another process: wait for it") from None


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep others from writing a data set; the lock ends with this process. Raises Timeout."""
    from filelock import FileLock

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    lock.acquire(timeout=0)
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def room_in(folder: Path, out: Path, needed: int) -> Iterator[None]:
    """Reserve `needed` bytes in a staged folder. Raises DataError if the disk is too full."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"Not enough disk space for {out}: {needed / 2**30:.1f} GiB needed, "
            f"{free / 2**30:.1f} free; choose another OUT or a smaller --size"
        )
    with room_for(out, needed):
        yield


def _replace(folder: Path, target: Path) -> None:
    """Rename a folder to its final name; remove what had it."""
    if not target.exists():
        folder.replace(target)
    elif not _exchange(folder, target):
        old = _old(target)
        shutil.rmtree(old, ignore_errors=True)
        target.replace(old)
        folder.replace(target)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names atomically; return False if the system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return call is not None and call(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _put_back(target: Path) -> None:
    """Restore the name of a data set after a run was killed between two renames."""
    from filelock import Timeout

    if _old(target).is_dir() and not target.exists():
        with suppress(Timeout), _locked(target):
            _old(target).replace(target)
