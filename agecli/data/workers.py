"""A pool of processes that streams work in constant memory and never outlives its parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from agecli.errors import AgecliError

Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 3
"""Pieces of work in flight per worker."""


def default_workers() -> int:
    """Count the CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Spawned processes; `map` keeps order, and holds only a few pieces of work at a time.

    Processes rather than threads, since dlib and much of PIL hold the interpreter's lock; spawned
    rather than forked, since forking after torch has started its threads can hang.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor = ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("spawn"), initializer=_initialise
        )

    def map(self, function: Callable[[Work], Result], work: Iterable[Work]) -> Iterator[Result]:
        """Yield function(piece) for each piece, in order; `work` is drawn only as needed."""
        flying: deque[Future[Result]] = deque()
        try:
            for piece in work:
                flying.append(self._executor.submit(function, piece))
                if len(flying) >= AHEAD * self.count:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        except BrokenProcessPool as error:
            raise AgecliError(
                "A worker process was killed, often for lack of memory: use fewer --workers"
            ) from error

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def _initialise() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
