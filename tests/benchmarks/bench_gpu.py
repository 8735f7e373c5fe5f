"""Measure the documents' GPU figures, stage by stage, each with its own time limit.

1. memory: a training step's memory by the allocator, beside the count: within 10 %.
2. small-card: real trainings where the allocator has 4 GB less CUDA's context.
3. speed: the step fed from the store against a resident batch (>= 0.95) and a plain loop (>= 2).

--train MINUTES: the release's trainings side by side instead, as many epochs as the minutes allow;
--score FILE...: score such weights on the test split of DATA, on the machine that has it.

usage: python tests/benchmarks/bench_gpu.py DATA OUT [--device cpu --quick] [--stages memory,speed]
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

STAGES = {"memory": 90, "small_card": 150, "speed": 120}
"""Seconds for each stage at most."""


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run to its end?")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--train", type=float, metavar="MINUTES", default=0.0)
    parser.add_argument("--models", default="resnet,dinov2,cnn,capsnet")
    parser.add_argument("--train-one", help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--score", nargs="+", type=Path, metavar="FILE")
    return parser.parse_args()


def run_stages(options: argparse.Namespace) -> None:
    """Run each stage in a process of its own, until its limit."""
    for stage in options.stages.split(","):
        started = time.monotonic()
        command = [sys.executable, *sys.argv, "--stage", stage]
        try:
            code: object = subprocess.run(command, timeout=STAGES[stage]).returncode
        except subprocess.TimeoutExpired:
            code = "time limit"
        print(f"{stage}: {time.monotonic() - started:.0f} s, {code}", flush=True)


def main() -> None:
    """Run the stages that the options ask for."""
    options = parse()
    place = options.data, options.out, options.device
    names = options.models.split(",")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.stage:
        importlib.import_module(f"gpu.{options.stage}").run(*place, quick=options.quick)
        return
    from gpu import release

    if options.score:
        release.score(options.score, options.data)
    elif options.train_one:
        release.train_one(
            options.train_one, *place, deadline=options.deadline, names=names, quick=options.quick
        )
    elif options.train:
        release.run(*place, minutes=options.train, names=names, quick=options.quick)
    else:
        run_stages(options)


if __name__ == "__main__":
    main()
