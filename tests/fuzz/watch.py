"""Run agecli's commands in forked processes that are watched: time, memory, output, survivors."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HANG = 20.0
"""Seconds that one broken input may take."""
MOST_MEMORY = 1.5 * 2**30
"""Bytes that a command and its workers may hold."""
NOTED = ("Traceback (most recent", "internal error", "Segmentation fault", "terminate called")
"""Texts that no command may ever print."""
NOTES = ("agecli: warning: ", "has the predictions so far")
"""Lines allowed beside the single line of an error."""
GOOD_CODES = (0, 1, 2, 3, 130)
_POLL = 0.05
_memory = 0


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    """The exit code; negative is a signal, as in subprocess."""
    out: str
    err: str
    seconds: float
    memory: int
    """The most bytes its processes held together (shared pages counted once)."""
    survivors: int = 0
    """Processes of it that were alive seconds after its end."""
    hung: bool = False

    @property
    def last_line(self) -> str:
        """The error that the user saw, or what stands in its place."""
        lines = self.err.strip().splitlines()
        return lines[-1][:200] if lines else ""

    def complaints(self, codes: Iterable[int] = GOOD_CODES, limit: float = HANG) -> list[str]:
        """List what is wrong with it, whatever it was asked."""
        found = []
        if self.hung:
            found.append(f"took longer than {limit:.0f} s")
        elif self.code not in codes:
            found.append(f"exit code {self.code}: {self.last_line}")
        found += [f"{mark!r}: {self.last_line}" for mark in NOTED if mark in self.err + self.out]
        if self.code == 1 and not self.hung:
            lines = (line for line in self.err.splitlines() if line.startswith("agecli: "))
            said = [line for line in lines if not any(note in line for note in NOTES)]
            if len(said) != 1:
                found.append(f"{len(said)} lines of error: {self.err[-300:]!r}")
        if self.memory > MOST_MEMORY:
            found.append(f"took {self.memory / 2**30:.1f} GiB")
        if self.survivors:
            found.append(f"{self.survivors} processes outlived it")
        return found


def run(
    *arguments: object,
    cwd: Path,
    limit: float = HANG,
    kill: tuple[float, int] | None = None,
    before: Callable[[], object] = lambda: None,
    env: dict[str, str] | None = None,
) -> Outcome:
    """Run a command of agecli in a folder, in a session of its own.

    limit: seconds until it is killed and counts as hung. kill: seconds after which it gets a
    signal, and which. before: called in the new process, as to lower its limits.
    """
    began = time.monotonic()
    pipes = [os.pipe() for _ in range(2)]
    pid = os.fork()
    if not pid:
        _become(list(map(str, arguments)), cwd, pipes, before, env or {})
    for _, end in pipes:
        os.close(end)
    texts = [_Reader(end) for end, _ in pipes]
    memory, hung, status, looked = 0, False, None, 0.0
    while status is None:
        time.sleep(_POLL if time.monotonic() - began > 1 else 0.005)
        for text in texts:
            text.read()
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            break
        passed = time.monotonic() - began
        if passed > looked + 0.2:
            looked, memory = passed, max(memory, sum(map(_held, _session(pid))))
        if kill and passed > kill[0]:
            os.kill(pid, kill[1])
            kill = None
        if passed > limit:
            hung = True
            os.killpg(pid, signal.SIGKILL)
    global _memory
    _memory = max(_memory, memory)
    seconds = time.monotonic() - began
    survivors = _survivors(pid)
    return Outcome(status, *(text.close() for text in texts), seconds, memory, survivors, hung)


class _Reader:
    """What a process writes into a pipe: no file, so that limits on files spare it."""

    def __init__(self, end: int) -> None:
        os.set_blocking(end, False)
        self._end, self._data = end, bytearray()

    def read(self) -> None:
        """Read what is available."""
        with suppress(BlockingIOError):
            while some := os.read(self._end, 1 << 16):
                self._data += some

    def close(self) -> str:
        """Return all of it."""
        self.read()
        os.close(self._end)
        return self._data.decode(errors="replace")


def warm_up() -> None:
    """Import what most commands need, so that forked ones begin at once; all on one thread."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import numpy
    import torch
    import torchvision

    import agecli.cli  # noqa: F401

    torch.set_num_threads(1)
    assert numpy and torchvision


def forked(work: Callable[[], object]) -> None:
    """Do something in a process of its own: torch's threads in this one would break its forks."""
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
        return
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def most_memory() -> int:
    """Return the most bytes that any command held since this was last asked."""
    global _memory
    most, _memory = _memory, 0
    return most


def _become(
    arguments: list[str], cwd: Path, pipes: list[tuple[int, int]], before: Callable[[], object],
    env: dict[str, str],
) -> None:  # fmt: skip
    """Turn the forked process into the command. Never returns."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, (_, end) in enumerate(pipes, 1):
            os.dup2(end, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(cwd)
        os.environ.update(env)
        sys.argv = ["agecli", *arguments]
        before()
        from agecli.cli import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _session(leader: int) -> list[int]:
    """List the processes of a session."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                members.append(int(entry.name))
    return members


def _held(pid: int) -> int:
    """Count the bytes that a process holds, and its part of those that it shares."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * int(match[1]) if (match := re.search(r"^Pss:\s+(\d+) kB", text, re.M)) else 0


def _survivors(leader: int) -> int:
    """Wait for a session to be empty, and end it where it is not. Count who was left."""
    until = time.monotonic() + 8
    while (alive := _session(leader)) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    return len(alive)
