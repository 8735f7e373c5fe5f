"""The pool: order, little in flight, and no process that stays behind."""

import multiprocessing
import os

import pytest

from agecli.data.workers import AHEAD, WorkerPool, default_workers
from agecli.errors import AgecliError
from tests.data.pictures import deadly_crop


def _fail(number):
    raise OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as pool:
        yield pool


def test_results_come_in_order_from_other_processes(pool):
    assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))
    assert os.getpid() not in set(pool.map(_pid, range(10)))


def _pid(_):
    return os.getpid()


def test_work_is_drawn_only_as_needed(pool):
    drawn = []

    def work():
        for number in range(1000):
            drawn.append(number)
            yield number

    results = pool.map(abs, work())
    for done in range(1, 30):
        next(results)
        assert len(drawn) < done + AHEAD * 2 + 1
    results.close()


def test_no_work_gives_nothing(pool):
    assert list(pool.map(abs, [])) == []


def test_an_error_in_a_worker_reaches_the_caller(pool):
    with pytest.raises(OSError, match="No space left"):
        list(pool.map(_fail, [1]))


def test_a_killed_worker_is_an_error_that_says_so():
    with WorkerPool(1) as pool, pytest.raises(AgecliError, match="worker process was killed"):
        list(pool.map(deadly_crop, [None]))


def test_no_process_is_left_when_the_pool_closes():
    before = set(multiprocessing.active_children())
    with WorkerPool(1) as pool:
        list(pool.map(abs, [1]))
        assert set(multiprocessing.active_children()) > before
    assert set(multiprocessing.active_children()) == before


def test_there_is_a_worker_per_cpu_that_may_be_used():
    assert 1 <= default_workers() <= os.cpu_count()
