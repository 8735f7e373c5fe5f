"""Commands without what they need: disk, files, memory. A line, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.fuzz.calls import at_change
from tests.fuzz.toys import TRAIN, Toys
from tests.fuzz.watch import run

BATCH = 1
LIMIT = 120.0


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Withhold something from a command per seed; yield what was wrong."""
    for seed in seeds:
        rng = Random(f"faults {seed}")
        name, command, out = rng.choice(_commands(toys))
        fault = rng.choice(FAULTS)
        withhold = fault(rng)
        outcome = run(*command, cwd=folder, limit=LIMIT, before=withhold)
        where = f"{name}, {fault.__name__[1:]}"
        for complaint in outcome.complaints((0, 1, 2, 3), LIMIT):
            yield seed, f"{where}: {complaint}"
        made = {path.name for path in folder.iterdir()} - {out, f"{out}.partial"}
        if fault in (_failing_calls, _few_files):  # not even what was begun can be removed
            made = {name for name in made if not name.endswith((".partial", ".lock", ".md"))}
        if outcome.code == 1 and name != "tune" and made:
            yield seed, f"{where}: left {', '.join(sorted(made))}"
        if not (folder / out).exists():  # nothing that is left may be in the way
            again = run(*command, cwd=folder, limit=LIMIT)
            yield from ((seed, f"{where}: again: {said}") for said in again.complaints((0,), LIMIT))
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _commands(toys: Toys) -> list[tuple[str, tuple[object, ...], str]]:
    cnn = toys.weights["cnn.safetensors"]
    data, crops = ("--data", toys.dataset), ("--crops", "--weights", cnn)
    train, tune = ("--epochs", 2, *TRAIN), ("--trials", 1, "--epochs", 1, *TRAIN[:-2])
    return [
        ("prepare", ("prepare", toys.faces, "data", "--size", 32, "--workers", 1), "data"),
        ("train", ("train", "cnn", *data, "--run", "run", *train), "run"),
        ("tune", ("tune", "cnn", *data, "--study", "study", *tune), "study"),
        ("export", ("export", cnn, "out.onnx", "--card"), "out.onnx"),
        ("export", ("export", cnn, "out.safetensors"), "out.safetensors"),
        ("evaluate", ("evaluate", cnn, *data, "--force", "--report", "report"), "report"),
        ("predict", ("predict", toys.faces, *crops, "--csv", "a.csv", "--workers", 2), "a.csv"),
        ("predict", ("predict", toys.faces, *crops, "--annotate", "marked"), "marked"),
    ]


def _small_files(rng: Random) -> Callable[[], None]:
    """No file may grow beyond a size: as a full disk, wherever it is written from."""
    most = rng.choice((0, 100, 5_000, 100_000, 400_000, 1_000_000))

    def withhold() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return withhold


def _few_files(rng: Random) -> Callable[[], None]:
    most = rng.choice((8, 12, 16, 20, 30))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _failing_calls(rng: Random) -> Callable[[], None]:
    """From the n-th call on, calls that change files fail."""
    number = rng.choice((errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS))
    first = rng.randrange(12)

    def fail(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return lambda: at_change(first, fail, once=False)


def _little_memory(rng: Random) -> Callable[[], None]:
    """Allow a few hundred megabytes of address space beyond what the process has."""
    more = rng.choice((50, 200, 500)) * 2**20

    def withhold() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return withhold


def _odd_surroundings(rng: Random) -> Callable[[], None]:
    changes = rng.choice(
        (
            {"WORLD_SIZE": ""}, {"WORLD_SIZE": "2"}, {"RANK": "1"}, {"LOCAL_RANK": "x"},
            {"HOME": "/nonexistent"},
            {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"TMPDIR": "/nonexistent"}, {"LC_ALL": "C"},
            {"CUDA_VISIBLE_DEVICES": "7"}, {"OMP_NUM_THREADS": "0"}, {"TERM": "dumb"},
        )
    )  # fmt: skip
    return lambda: os.environ.update(changes)


Fault = Callable[[Random], Callable[[], None]]
FAULTS: tuple[Fault, ...] = (
    _small_files, _few_files, _failing_calls, _failing_calls, _little_memory, _odd_surroundings,
)  # fmt: skip
