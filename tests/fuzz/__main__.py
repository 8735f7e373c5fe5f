"""Break things by fixed seeds: python -m tests.fuzz [KIND ...] [--minutes N] [--seed N]"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

from tests.fuzz import archives, faults, kills, pictures, states, watch, weights
from tests.fuzz.toys import Toys

KINDS: dict[str, ModuleType] = {
    "pictures": pictures, "archives": archives, "weights": weights, "states": states,
    "kills": kills, "faults": faults,
}  # fmt: skip


def fuzz(
    kinds: list[str], toys: Toys, *, seed: int = 0, count: int | None = None, minutes: float = 1
) -> Counter[str]:
    """Run the kinds in turn, `count` cases of each or for so many minutes; count their failures.

    Prints a line per failure, and one per kind.
    """
    failures: Counter[str] = Counter()
    for kind in kinds:
        began, done, slowest = time.monotonic(), 0, 0.0
        while done < count if count else time.monotonic() - began < 60 * minutes / len(kinds):
            size = KINDS[kind].BATCH if count is None else min(count - done, KINDS[kind].BATCH)
            seeds = range(seed + done, seed + done + size)
            folder = Path(tempfile.mkdtemp(dir=toys.folder))
            start = time.monotonic()
            for number, complaint in KINDS[kind].check(seeds, toys, folder):
                failures[kind] += 1
                some = f"--seed {seeds.start} --count {len(seeds)}"
                repeat = some if number is None else f"--seed {number} --count 1"
                print(f"{kind}: {complaint}  [python -m tests.fuzz {kind} {repeat}]", flush=True)
            slowest = max(slowest, time.monotonic() - start)
            shutil.rmtree(folder, ignore_errors=True)
            done += size
        memory = watch.most_memory() / 2**20
        print(
            f"{kind}: {done} cases from seed {seed}, {failures[kind]} failures, "
            f"{time.monotonic() - began:.0f} s; the slowest {slowest:.1f} s, "
            f"{memory:.0f} MiB at most",
            flush=True,
        )
    return failures


def main() -> None:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--minutes", type=float, default=1, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--count", type=int, help="cases per kind, instead of --minutes")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(KINDS)}")
    watch.warm_up()
    with tempfile.TemporaryDirectory(prefix="agecli-fuzz-") as folder:
        toys = Toys(Path(folder))
        failures = fuzz(
            options.kinds or list(KINDS), toys, seed=options.seed, count=options.count,
            minutes=options.minutes,
        )  # fmt: skip
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
