"""A data set's folder that takes its name only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agecli.data import store
from agecli.errors import DataError, UsageError


def is_dataset(folder: Path) -> bool:
    """Return whether a folder holds what `prepare` makes."""
    return (folder / store.RECEIPT).is_file() and (folder / store.MANIFEST).is_file()


def check_free(out: Path, *, force: bool) -> None:
    """Raise DataError where `out` is in use; `force` allows for replacing a data set."""
    if out.resolve() == Path.cwd():
        raise UsageError("OUT is the current folder: give the data set a name of its own")
    if is_dataset(out):
        if not force:
            raise DataError(f"{out} is a data set already: --force makes it again")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not a data set: give another OUT")


@contextmanager
def staged(out: Path, *, needed: int) -> Iterator[Path]:
    """Yield an empty folder to fill: `out` when the block ends well, gone when it fails.

    needed: bytes that will be written. What a killed run left is cleared away. Raises DataError
    where the disk is too small, or another process is writing the same `out`.
    """
    from filelock import FileLock, Timeout

    target = out.resolve()  # beside what a link points to: there is the disk that was meant
    folder = target.with_name(f".{target.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))  # ends with this process
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{out} is being written by another process: wait for it") from None
    try:
        for leftover in folder.iterdir():
            leftover.unlink()
        _check_disk(folder, out, needed)
        yield folder
        _replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _check_disk(folder: Path, out: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"Not enough disk space for {out}: {needed / 2**30:.1f} GiB needed, "
            f"{free / 2**30:.1f} free; choose another OUT or a smaller --size"
        )


def _replace(folder: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    folder.replace(target)
    shutil.rmtree(old, ignore_errors=True)
