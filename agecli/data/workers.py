"""A process pool that streams work in constant memory and never outlives its parent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn, TypeVar

from agecli.errors import AgecliError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 3
"""Pieces of work in flight per worker."""
SECONDS = 120.0
"""Seconds that a worker may take for one item, or for a whole piece."""
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PILLOW_BLOCKS_MAX": "4"}
"""The workers' environment: one thread each, and freed memory kept for the next image."""


def default_workers() -> int:
    """Return the number of CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Spawned processes; `map` keeps the order, with only a few pieces of work in flight.

    Processes rather than threads, since much of PIL and NumPy holds the GIL, and
    since a crashing decoder ends its process; spawned rather than forked, since forking after
    torch has started its threads can hang. A thread of this process feeds each.
    """

    def __init__(self, count: int, seconds: float = SECONDS) -> None:
        self.count, self.seconds = count, seconds
        self._threads = ThreadPoolExecutor(count)
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._spare: list[_Worker] = []
        self._starting = threading.Lock()
        self._abandoned = False

    @contextmanager
    def starting(self, answer: Callable[[Sequence[Item]], Iterable[Result]]) -> Iterator[None]:
        """Start all workers while the block runs; they import what `answer` needs."""
        with self._starting, _interrupts_restored():  # by this thread: none is left half-started
            self._spare = [_Worker() for _ in range(self.count)]
            self._workers.update(self._spare)
        starts = [self._threads.submit(self._start, answer) for _ in range(self.count)]
        yield
        for start in starts:
            start.result()

    def _start(self, answer: Callable[[Sequence[Item]], Iterable[Result]]) -> None:
        self._worker().answer(answer, [], self.seconds)

    def map(
        self,
        answer: Callable[[Sequence[Item]], Iterable[Result]],
        pieces: Iterable[Sequence[Item]],
        lost: Callable[[Item, str], Result],
    ) -> Iterator[Result]:
        """Yield the results of `answer` for each piece, a result per item, in order.

        Pieces are drawn only as needed. If a worker dies, or takes longer than `seconds`, it is
        replaced, and the piece is repeated item by item: an item that kills a worker
        again gets its result from `lost`, called with it and the reason. Raises what
        `answer` raises, AgecliError if no worker can be started.
        """
        flying: deque[Future[list[Result]]] = deque()
        for piece in pieces:
            flying.append(self._threads.submit(self._answer, answer, piece, lost))
            if len(flying) >= AHEAD * self.count:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:  # Ctrl-C too: do not wait for work in flight
            with self._starting:
                self._abandoned = True
                for worker in self._workers:
                    worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.end()

    def _answer(
        self,
        answer: Callable[[Sequence[Item]], Iterable[Result]],
        items: Sequence[Item],
        lost: Callable[[Item, str], Result],
    ) -> list[Result]:
        worker = self._worker()
        results = worker.answer(answer, items, self.seconds)
        if isinstance(results, _Raised):
            raise results.error
        if not isinstance(results, _Gone):
            return results
        self._discard(worker)
        if len(items) == 1:
            return [lost(items[0], results.reason)]
        return [result for item in items for result in self._answer(answer, [item], lost)]

    def _worker(self) -> _Worker:
        """Return this thread's worker."""
        if not hasattr(self._own, "worker"):
            with self._starting:
                if self._abandoned:
                    raise AgecliError("interrupted")
                self._own.worker = self._spare.pop() if self._spare else _Worker()
                self._workers.add(self._own.worker)
            self._own.worker.wait_until_up(self.seconds)
        return self._own.worker

    def _discard(self, worker: _Worker) -> None:
        del self._own.worker
        with self._starting:
            self._workers.remove(worker)
        worker.process.kill()
        worker.end()


class _Raised(NamedTuple):
    """Sent by a worker in place of results."""

    error: Exception


class _Gone(NamedTuple):
    """Takes the place of the results of a worker that has died."""

    reason: str


class _Worker:
    """A process, and this end of the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=_work, args=(end,), daemon=True)
        _block_interrupts()
        try:
            with _environment():
                self.process.start()
        except OSError as error:
            _raise_not_started(error)
        finally:
            end.close()  # so that reading ends when the process does

    def wait_until_up(self, seconds: float) -> None:
        """Raise AgecliError if the process does not get ready for work."""
        try:
            if self.pipe.poll(seconds):
                self.pipe.recv()
                return
        except (EOFError, OSError) as error:
            _raise_not_started(error)
        _raise_not_started(TimeoutError())

    def answer(
        self, answer: Callable[[Any], Iterable[Any]], items: Sequence[Any], seconds: float
    ) -> list[Any] | _Raised | _Gone:
        """Return the results for some items, sent as one message."""
        try:
            self.pipe.send((answer, items))
            if self.pipe.poll(seconds):
                return self.pipe.recv()
        except (EOFError, OSError):
            return _Gone("the decoder crashed")
        return _Gone(f"the decoder took more than {seconds:g} seconds")

    def end(self) -> None:
        """Make the process end, and wait for it."""
        self.pipe.close()
        self.process.join()


@contextmanager
def _environment() -> Iterator[None]:
    """Set variables that a process reads at its start; those set by the user stay."""
    added = [name for name in _ENVIRONMENT if name not in os.environ]
    os.environ |= {name: _ENVIRONMENT[name] for name in added}
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _raise_not_started(error: Exception) -> NoReturn:
    raise AgecliError(
        "A worker process does not start, often for lack of memory: use fewer --workers"
    ) from error


@contextmanager
def _interrupts_restored() -> Iterator[None]:
    """Restore Ctrl-C for this thread after the block, if it was enabled before."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _block_interrupts() -> None:
    """Block Ctrl-C in this thread, and in processes it starts until they can ignore it."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # its start would unblock them again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _work(pipe: Connection) -> None:
    """Run a worker: answer what comes through a pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # from the pipe: the parent has closed it
        pipe.send("up")
        while True:
            pipe.send(_results(pipe.recv_bytes()))


def _results(work: bytes) -> list[Any] | _Raised:
    try:
        answer, items = pickle.loads(work)
        return list(answer(items))
    except MemoryError:
        os._exit(1)  # its work in progress is lost
    except Exception as error:
        return _Raised(error)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
