"""Mutation testing: small faults are put into the code, and each should fail its tests.

A fault is drawn from all places that could have one (see `mutations.py`), so that a module gets
them in proportion to its code: a comparison, an operator, a number, a truth value, a condition, a
slice's bound, two arguments, or a statement is changed or removed in the text, and all else stays
as it is. It counts as killed when a test fails, or the tests take 5 times as long as without it.

Tests run in forks of a process that has imported what is slow to import, and in copies of the tree:
the working tree is never changed. Should this be killed, a guard stops the tests and removes the
copies.

usage: python tests/benchmarks/bench_mutation.py [--count 200] [--seed 0] [--only MODULE ...]
       [--workers 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mutations import Mutation, Places

ROOT = Path(__file__).parents[2]
LOG = "tests.log"

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
    "faces/detector": "faces/test_looks faces/test_detector faces/test_detect",
    "training/objectives": "training/test_objectives",
    "training/features": "training/test_features",
    "training/loop": "training/test_loop",
    "inference/predictor": "inference/test_predictor",
}
"""The tests that each module of agecli has to fail with a fault; the fastest files first."""

PATIENCE = 5
"""How many times as much of the processor's time the tests may take as without a fault; and of the
clock's, with a minute more, for others may share the machine."""

SLOW = (
    "accelerate", "cv2", "PIL.Image", "pytest", "safetensors.torch", "scipy.sparse.csgraph",
    "scipy.stats", "sklearn.metrics", "torch", "transformers",
)  # fmt: skip
"""The modules that tests import, imported once for all of them."""


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

    SCRIPT = 'while read -r line; do groups=$line; done; kill -s KILL $groups; rm -rf "$0"'

    def __init__(self, folder: Path) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", self.SCRIPT, str(folder)], text=True, start_new_session=True,
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def watch(self, groups: Iterable[int]) -> None:
        """Record the current process groups."""
        print("--", *(-group for group in groups), file=self._shell.stdin, flush=True)


@dataclass
class Tests:
    """The tests of a module, with a fault or without, as they run in a copy of the tree."""

    module: str
    mutation: Mutation | None = None
    used: float = math.inf
    """Seconds of the processor that they use without the fault."""
    took: float = math.inf
    """Seconds that they take without it."""
    passed = False

    def start(self, tree: Path) -> None:
        """Insert the fault, and start a process in its own group."""
        self.tree, self.began = tree, time.monotonic()
        if self.mutation:
            self._write(self.mutation.apply())
        self.process = os.fork()
        if not self.process:
            os.setsid()
            os._exit(self._run())

    def poll(self) -> bool:
        """Return whether they have ended, or took too long; if so, take the fault out."""
        ended, status, usage = os.wait4(self.process, os.WNOHANG)
        took = time.monotonic() - self.began
        if not ended and took < PATIENCE * self.took + 60:
            return False
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        if not ended:
            os.waitpid(self.process, 0)
        if self.mutation:
            self._write(self.mutation.source)
        self.passed = ended > 0 and status == 0
        self.used, self.took = usage.ru_utime + usage.ru_stime, took
        return True

    def _write(self, text: bytes) -> None:
        path = self.tree / "agecli" / f"{self.module}.py"
        path.write_bytes(text)
        # Python takes a file of the same size, written in the same second, for the same.
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)

    def _run(self) -> int:
        os.chdir(self.tree)
        sys.path.insert(0, str(self.tree))
        os.environ["PYTHONPATH"] = str(self.tree)
        log = os.open(LOG, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, sys.stdout.fileno())
        os.dup2(log, sys.stderr.fileno())
        if self.mutation:
            most = math.ceil(PATIENCE * self.used)
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        files = [f"tests/{name}.py" for name in TESTS[self.module].split()]
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--basetemp", "temporary"]
        return int(sys.modules["pytest"].main([*options, *files]))


def run(tests: Iterable[Tests], folder: Path, guard: Guard, workers: int) -> Iterator[Tests]:
    """Run tests, so many at once, each in one of the copies of the tree; yield what has ended."""
    free = [folder / str(number) for number in range(workers)]
    waiting, running = iter(tests), []
    while True:
        for one in islice(waiting, len(free)):
            one.start(free.pop())
            running.append(one)
        guard.watch(one.process for one in running)
        if not running:
            return
        time.sleep(0.02)
        for one in [one for one in running if one.poll()]:
            running.remove(one)
            free.append(one.tree)
            yield one


def survivors_of(mutations: list[Mutation], workers: int) -> list[Mutation]:
    """Insert faults, one after another; return those that no test detects."""
    for name in SLOW:
        importlib.import_module(name)
    folder = Path(tempfile.mkdtemp(prefix="mutation-"))
    guard = Guard(folder)
    for number in range(workers):
        left_out = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT, folder / str(number), ignore=left_out)
    modules = sorted({mutation.module for mutation in mutations})
    plain = {}
    for one in run(map(Tests, modules), folder, guard, workers):
        if not one.passed:
            sys.exit(f"{one.module} fails as it is:\n{(one.tree / LOG).read_text()}")
        plain[one.module] = one
    faults = (Tests(m.module, m, plain[m.module].used, plain[m.module].took) for m in mutations)
    survivors = []
    for one in run(faults, folder, guard, workers):
        if one.passed:
            survivors.append(one.mutation)
            print(one.mutation, file=sys.stderr, flush=True)
    return survivors


def main() -> None:
    """Print how many faults of each module were killed, and which survived."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="faults at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=TESTS, metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()

    mutations = draw(options.only or list(TESTS), options.count, options.seed)
    survivors = survivors_of(mutations, options.workers)
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
