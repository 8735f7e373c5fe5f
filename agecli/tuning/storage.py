"""Where a study is kept: a journal file that survives its writers, or a database."""

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
"""Seconds between a worker's signs of life in a database, and without one until it is dead."""

DRIVERS = {
    "postgresql": ("psycopg", "postgresql"),
    "postgres": ("psycopg", "postgresql"),
    "mysql": ("pymysql", "mysql"),
}
"""Databases by their URL's scheme: the driver, and the extra that installs it."""

OnStale = Callable[["Study", "FrozenTrial"], None]
"""Told of a trial whose worker has died, once it was marked as failed."""


def open_storage(folder: Path, url: str, on_stale: OnStale) -> BaseStorage:
    """Open the storage of a study: a database by its URL, or without one the folder's journal.

    Raises UsageError for a URL that is none, TrainingError for a database that does not answer.
    """
    if url:
        return _database(url, on_stale)
    path = folder / JOURNAL
    try:
        return JournalStorage(JournalFileBackend(str(path), _JournalLock(path)))
    except Exception as error:  # a damaged line raises whatever its reader stumbles over
        raise damaged(path, error) from error


def damaged(path: Path | str, error: Exception) -> TrainingError:
    """Say that a study cannot be read, and what to do."""
    reason = brief(error if isinstance(error, ValueError) else repr(error))
    return TrainingError(f"{path} is damaged ({reason}): put it back, or start another --study")


class _JournalLock(JournalFileOpenLock):
    """Optuna's lock of a journal, by the system: it ends with a killed writer.

    What that one wrote by half is no line, and is taken off before the next one writes.
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
        """Leave the lock."""
        self.lock.release()


def _ends_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return bool(file.read(1) == b"\n")


def _last_line_end(file: Any, end: int, step: int = 1 << 16) -> int:
    """Find the end of the last whole line in front of a position."""
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
            "--storage: takes a URL as postgresql://USER:PASSWORD@HOST/DATABASE or mysql://…; "
            "without one, the study is a file in its folder"
        )
    if "+" not in scheme:
        if find_spec(driver) is None:
            raise UsageError(f'--storage: {scheme} needs a driver: pip install "agecli[{extra}]"')
        url = f"{extra}+{driver}://{rest}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats, since 2021
            return RDBStorage(
                url, engine_kwargs={"pool_pre_ping": True}, heartbeat_interval=HEARTBEAT,
                grace_period=GRACE, heartbeat_stale_trial_callback=on_stale,
            )  # fmt: skip
    except Exception as error:  # of SQLAlchemy, its drivers, and what stands behind them
        reason = brief(getattr(error, "orig", error))
        raise TrainingError(
            f"--storage: the database does not answer as it should ({reason}): check the URL, and "
            "that its server runs"
        ) from error
