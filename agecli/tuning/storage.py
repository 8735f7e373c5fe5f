"""Storage of a study: a journal file that survives killed writers, or a database."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial

from agecli.errors import TrainingError, UsageError, brief

JOURNAL = "journal.log"
HEARTBEAT, GRACE = 15, 60
"""Seconds between a worker's heartbeats in a database, and without one until it counts as dead."""

DRIVERS = {
    "postgresql": ("psycopg", "postgresql"),
    "postgres": ("psycopg", "postgresql"),
    "mysql": ("pymysql", "mysql"),
}
"""Databases by their URL's scheme: the driver, and the extra that installs it."""

OnStale = Callable[["Study", "FrozenTrial"], None]
"""Called with a trial whose worker has died, once it is marked as failed."""


def open_storage(folder: Path, url: str, on_stale: OnStale) -> BaseStorage:
    """Open a study's storage: a database by its URL, or the folder's journal without one.

    Raises UsageError for an invalid URL, TrainingError for a database that does not respond.
    """
    if url:
        return _database(url, on_stale)
    path = folder / JOURNAL
    try:
        return JournalStorage(JournalFileBackend(str(path), _JournalLock(path)))
    except Exception as error:  # a damaged line can raise anything
        raise damaged(path, error) from error


def damaged(path: Path | str, error: Exception) -> TrainingError:
    """Return the error for a study that cannot be read."""
    reason = brief(error if isinstance(error, ValueError) else repr(error))
    return TrainingError(f"{path} is damaged ({reason}): restore it, or start another --study")


class _JournalLock(JournalFileOpenLock):
    """Optuna's journal lock, as a system lock: it is released when its writer is killed.

    A half-written line is cut off before the next write.
    """

    def __init__(self, journal: Path) -> None:
        self.journal, self.lock = journal, FileLock(journal.with_suffix(".lock"))

    def acquire(self) -> bool:
        """Take the lock, and repair the journal."""
        self.lock.acquire()
        with self.journal.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end and not _ends_line(file, end):
                file.truncate(_last_line_end(file, end))
        return True

    def release(self) -> None:
        """Release the lock."""
        self.lock.release()


def _ends_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return bool(file.read(1) == b"\n")


def _last_line_end(file: Any, end: int, step: int = 1 << 16) -> int:
    """Return the end of the last complete line before a position."""
    while end > 0:
        start = max(0, end - step)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


def _database(url: str, on_stale: OnStale) -> BaseStorage:
    scheme, separator, rest = url.partition("://")
    driver, extra = DRIVERS.get(scheme.partition("+")[0], ("", ""))
    if not separator or not driver:
        raise UsageError(
            "--storage: takes a URL such as postgresql://USER:PASSWORD@HOST/DATABASE or mysql://…; "
            "without one, the study is a file in its folder"
        )
    if "+" not in scheme:
        if find_spec(driver) is None:
            raise UsageError(f'--storage: {scheme} needs a driver: pip install "agecli[{extra}]"')
        url = f"{extra}+{driver}://{rest}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # about heartbeats, since 2021
            return RDBStorage(
                url, engine_kwargs={"pool_pre_ping": True}, heartbeat_interval=HEARTBEAT,
                grace_period=GRACE, heartbeat_stale_trial_callback=on_stale,
            )  # fmt: skip
    except Exception as error:  # from SQLAlchemy, its drivers or the server
        reason = brief(getattr(error, "orig", error))
        raise TrainingError(
            f"--storage: the database does not respond as it should ({reason}): check the URL, and "
            "that its server is running"
        ) from error
