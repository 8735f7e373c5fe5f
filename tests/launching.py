"""Start several processes as a launcher does, or threads that take themselves for such."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agecli import distributed

ROOT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """Return an environment that finds our own tree, with one thread per process."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def launch(*arguments: object, world: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """Run `python ARGUMENTS` in each of several processes on this machine; wait for them all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = dict(
        WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
    )  # fmt: skip
    command = [sys.executable, *map(str, arguments)]
    processes = [
        subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment() | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(world)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def pretend(monkeypatch: pytest.MonkeyPatch, world: int, local: int = 1) -> None:
    """Make this process believe that it is the first of a launch."""
    place = {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "LOCAL_RANK": "0"}
    place |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(local)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)


class Threads:
    """The processes of a launch as threads of this one: a tenth of the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: int) -> None:
        self.barrier, self.values = threading.Barrier(world, timeout=60), [None] * world
        self.own = threading.local()
        monkeypatch.setattr(distributed, "rank", lambda: self.own.rank)
        monkeypatch.setattr(distributed, "world", lambda: world)
        monkeypatch.setattr(distributed, "gather", self._gather)
        monkeypatch.setattr(distributed, "broadcast", lambda value: self._gather(value)[0])

    def run(self, function: Callable[[], Any]) -> list[Any]:
        """Call a function in each; return what they return."""

        def one(rank: int) -> Any:
            self.own.rank = rank
            return function()

        with ThreadPoolExecutor(len(self.values)) as pool:
            return list(pool.map(one, range(len(self.values))))

    def _gather(self, value: Any) -> list[Any]:
        self.values[self.own.rank] = value
        self.barrier.wait()
        gathered = list(self.values)
        self.barrier.wait()
        return gathered
