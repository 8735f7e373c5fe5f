"""Whether the tests bite: small faults are put into the code, and each should fail its tests.

A fault is drawn from all places that could have one (see `mutations.py`), so that a module gets
them in proportion to its code: a comparison, an operator, a number, a truth value, a condition, a
slice's bound, two arguments, or a statement is changed or removed in the text, and all else stays
as it is. It counts as killed when a test fails, or the tests take 5 times as long as without it.

Each worker has a copy of the tree for itself: the working tree is never changed, and should this be
killed, a guard stops the tests and removes the copies.

usage: python tests/benchmarks/bench_mutation.py [--count 200] [--seed 0] [--only MODULE ...]
       [--workers 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.mutations import Places

ROOT = Path(__file__).parents[2]

TESTS = {
    "ages": "test_ages",
    "weights": "test_weights test_onnxfile",
    "data/split": "data/test_split",
    "data/audit": "data/test_audit",
    "models/routing": "models/test_routing",
    "evaluation/metrics": "evaluation/test_metrics",
    "faces/geometry": "faces/test_geometry faces/test_crops",
    "faces/tracks": "faces/test_tracks",
    "faces/drawing": "faces/test_drawing",
    "faces/crops": "faces/test_crops faces/test_detect",
    "faces/detector": "faces/test_detector faces/test_detect",
    "training/objectives": "training/test_objectives",
    "training/features": "training/test_features",
    "training/loop": "training/test_loop",
    "inference/predictor": "inference/test_predictor",
}
"""The tests that each module of agecli has to fail with a fault; the fastest files first."""

PATIENCE = 5
"""How many times as long as without a fault the tests may take."""


@dataclass(frozen=True)
class Mutation:
    """A fault: what stands at some bytes of a module, and what it becomes."""

    module: str
    source: bytes
    start: int
    end: int
    after: str

    def apply(self) -> bytes:
        """Return the module's text with the fault."""
        return self.source[: self.start] + self.after.encode() + self.source[self.end :]

    def __str__(self) -> str:
        source = self.source
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        before = source[first:last].decode()
        after = (
            f"{source[first : self.start].decode()}{self.after}{source[self.end : last].decode()}"
        )
        line = source.count(b"\n", 0, self.start) + 1
        texts = (re.sub(r"\s+", " ", text).strip() for text in (before, after))
        return f"agecli/{self.module}.py:{line}: {'  ->  '.join(texts)}"


def draw(modules: list[str], count: int, seed: int) -> list[Mutation]:
    """Draw faults from all places of the modules, at most one for a place."""
    sources = {m: (ROOT / "agecli" / f"{m}.py").read_bytes() for m in modules}
    places = [(module, *place) for module in modules for place in Places(sources[module]).found]
    rng = random.Random(seed)
    return [
        Mutation(module, sources[module], start, end, rng.choice(after))
        for module, start, end, after in rng.sample(places, min(count, len(places)))
    ]


class Guard:
    """Stops processes and removes a folder as soon as this process ends, however it does."""

    SCRIPT = 'while read -r line; do groups=$line; done; kill -s KILL $groups; sleep 1; rm -rf "$0"'

    def __init__(self, folder: Path) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", self.SCRIPT, str(folder)], text=True, start_new_session=True,
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._groups: set[int] = set()
        self._lock = threading.Lock()

    def run(self, command: list[str], limit: float | None, **how: Any) -> bool:
        """Run a command in a process group of its own; tell whether it succeeded in time."""
        process = subprocess.Popen(command, start_new_session=True, **how)
        self._note(self._groups.add, process.pid)
        try:
            return process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._note(self._groups.discard, process.pid)

    def _note(self, change: Callable[[int], None], group: int) -> None:
        with self._lock:
            change(group)
            print("--", *(-group for group in self._groups), file=self._shell.stdin, flush=True)


class Tree:
    """A copy of the tree, in which the tests of a module are run."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self.folder, self.guard = folder, guard
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))

    def passes(self, module: str, limit: float | None = None) -> bool:
        """Run a module's tests; tell whether all passed, in time."""
        files = [f"tests/{name}.py" for name in TESTS[module].split()]
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--basetemp", "temporary"]
        with (self.folder / "tests.log").open("w") as log:
            return self.guard.run(
                [sys.executable, "-m", "pytest", *options, *files], limit,
                cwd=self.folder, stdout=log, stderr=log,
                env=os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def plain_seconds(self, module: str) -> float:
        """Return how long a module's tests take without a fault."""
        began = time.monotonic()
        if not self.passes(module):
            sys.exit(f"{module} fails as it is:\n{(self.folder / 'tests.log').read_text()}")
        return time.monotonic() - began

    def kills(self, mutation: Mutation, limit: float) -> bool:
        """Tell whether the tests notice a fault."""
        path = self.folder / "agecli" / f"{mutation.module}.py"
        try:
            self._write(path, mutation.apply())
            return not self.passes(mutation.module, limit)
        finally:
            self._write(path, mutation.source)

    def _write(self, path: Path, text: bytes) -> None:
        path.write_bytes(text)
        # Python takes a file of the same size, written in the same second, for the same.
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)


def run(mutations: list[Mutation], workers: int) -> list[Mutation]:
    """Put faults in, one after another; return those that survive."""
    folder, own = Path(tempfile.mkdtemp(prefix="mutation-")), threading.local()
    guard = Guard(folder)

    def start() -> None:
        own.tree = Tree(folder / str(threading.get_ident()), guard)

    with ThreadPoolExecutor(workers, initializer=start) as pool:
        modules = sorted({mutation.module for mutation in mutations})
        times = pool.map(lambda module: own.tree.plain_seconds(module), modules)
        limits = {module: PATIENCE * took for module, took in zip(modules, times, strict=True)}
        killed = pool.map(lambda m: own.tree.kills(m, limits[m.module]), mutations)
        survivors = []
        for mutation, dead in zip(mutations, killed, strict=True):
            if not dead:
                survivors.append(mutation)
                print(mutation, file=sys.stderr, flush=True)
        return survivors


def main() -> None:
    """Print how many faults of each module were killed, and which survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="faults at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=TESTS, metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()

    mutations = draw(options.only or list(TESTS), options.count, options.seed)
    survivors = run(mutations, options.workers)
    drawn, left = (Counter(m.module for m in some) for some in (mutations, survivors))
    print(f"{'module':<22}{'killed':>8}{'survived':>10}")
    for module in TESTS:
        print(f"{module:<22}{drawn[module] - left[module]:>8}{left[module]:>10}")
    killed = len(mutations) - len(survivors)
    print(f"{'all':<22}{killed:>8}{len(survivors):>10}{killed / len(mutations):>10.1%}\n")
    print(*survivors, sep="\n")
    if options.json:
        modules = {m: {"killed": drawn[m] - left[m], "survived": left[m]} for m in TESTS}
        report = {"seed": options.seed, "modules": modules, "survivors": [*map(str, survivors)]}
        options.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
