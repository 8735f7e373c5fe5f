"""The pool: order, little in flight, what one bad item costs, and no process that stays behind."""

import multiprocessing
import os
import signal
import time

import pytest

from agecli.data.workers import AHEAD, WorkerPool, default_workers
from agecli.errors import AgecliError


def _negate(numbers):
    return (-number for number in numbers)


def _pids(numbers):
    return (os.getpid() for _ in numbers)


def _fail(numbers):
    raise OSError(28, "No space left on device")


def _moody(words):
    """Return words, and do what some of them say."""
    for word in words:
        if word == "die":
            os._exit(9)
        if word == "sleep":
            time.sleep(600)
        if word == "swell":
            raise MemoryError
        yield word.upper()


def _lost(item, reason):
    return f"{item}: {reason}"


def _pieces(items, size=3):
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as pool:
        yield pool


def test_results_come_in_order_from_other_processes(pool):
    numbers = list(range(50))
    assert list(pool.map(_negate, _pieces(numbers), _lost)) == [-number for number in numbers]
    pids = set(pool.map(_pids, _pieces(numbers), _lost))
    assert os.getpid() not in pids and len(pids) <= 2


def test_workers_start_ahead_of_work_and_ctrl_c_reaches_the_caller():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with WorkerPool(2) as pool:
        with pool.starting(_negate):
            started = {process.pid for process in multiprocessing.active_children()}
            assert len(started) >= 2
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        assert set(pool.map(_pids, [[1]] * 20, _lost)) <= started
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_work_is_drawn_only_as_needed(pool):
    drawn = []

    def work():
        for number in range(1000):
            drawn.append(number)
            yield [number]

    results = pool.map(_negate, work(), _lost)
    for done in range(1, 30):
        next(results)
        assert len(drawn) < done + AHEAD * 2 + 1
    results.close()


def test_no_work_gives_nothing(pool):
    assert list(pool.map(_negate, [], _lost)) == []


def test_an_error_in_a_worker_reaches_the_caller(pool):
    with pytest.raises(OSError, match="No space left"):
        list(pool.map(_fail, [[1]], _lost))
    assert list(pool.map(_negate, [[1]], _lost)) == [-1]


@pytest.mark.parametrize("word", ["die", "swell"])
def test_a_worker_that_dies_costs_the_item_it_was_at(pool, word):
    words = ["a", "b", word, "c", word, word, "d", word, "e"]
    expected = [f"{w}: the decoder crashed" if w == word else w.upper() for w in words]
    assert list(pool.map(_moody, _pieces(words), _lost)) == expected
    assert len(multiprocessing.active_children()) <= 2


def test_an_item_that_takes_too_long_is_abandoned():
    with WorkerPool(1, seconds=2) as pool:
        results = list(pool.map(_moody, [["a", "sleep", "b"]], _lost))
    assert results == ["A", "sleep: the decoder took more than 2 seconds", "B"]


def test_where_no_worker_starts_an_error_says_so(monkeypatch):
    monkeypatch.setattr("agecli.data.workers._work", os._exit)
    with WorkerPool(1) as pool, pytest.raises(AgecliError, match=r"does not start.*--workers"):
        list(pool.map(_negate, [[1]], _lost))


def test_no_process_is_left_when_the_pool_closes():
    before = set(multiprocessing.active_children())
    with WorkerPool(1) as pool:
        list(pool.map(_negate, [[1]], _lost))
        assert set(multiprocessing.active_children()) > before
    assert set(multiprocessing.active_children()) == before


def test_no_process_is_left_when_what_it_does_is_abandoned():
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), WorkerPool(2) as pool:
        for _ in pool.map(_moody, [["a"], ["sleep"], ["sleep"]], _lost):
            raise KeyboardInterrupt
    assert set(multiprocessing.active_children()) == before


def test_there_is_a_worker_per_cpu_that_may_be_used():
    assert 1 <= default_workers() <= os.cpu_count()
