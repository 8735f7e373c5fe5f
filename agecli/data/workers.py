"""A pool of processes that streams work in constant memory and never outlives its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
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

    Processes rather than threads, since much of PIL and numpy holds the interpreter's lock; spawned
    rather than forked, since forking after torch has started its threads can hang.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        context = multiprocessing.get_context("spawn")
        end, self._leash = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            count, mp_context=context, initializer=_initialise, initargs=(end,)
        )

    def map(self, function: Callable[[Work], Result], work: Iterable[Work]) -> Iterator[Result]:
        """Yield function(piece) for each piece, in order; `work` is drawn only as needed.

        Raises AgecliError where a worker is killed.
        """
        flying: deque[Future[Result]] = deque()
        try:
            for piece in work:
                with _interrupts_held():  # it may start a process
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

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:  # Ctrl-C too: nobody waits for what is in flight
            self._leash.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._leash.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, and keep it for good from processes that start meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _initialise(leash: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_when_let_go() -> None:
        wait([parent.sentinel, leash])
        os._exit(1)

    threading.Thread(target=leave_when_let_go, daemon=True).start()
