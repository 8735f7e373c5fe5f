"""Speed-up by a second worker of a search, and the cost of the display.

    python tests/benchmarks/bench_tune.py DATA [SECONDS]

Searches the cnn's rate and dropout for some time with one worker, then with two, one thread each,
and counts the trials that were finished in that time, start-up included. The cost of display and
bookkeeping is the processor time of the process that shows them, once it is up, of the time that
passes. Run it on an idle machine with two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

from agecli.tuning.study import Study

SPACE = "lr = { low = 0.0005, high = 0.005, log = true }\ndropout = { low = 0.0, high = 0.5 }\n"
SETTLED = 20
"""Seconds after which all is imported and training."""


def search(data: Path, folder: Path, workers: int, seconds: float) -> tuple[int, float]:
    """Return the trials finished in the time, and the share of it that the display took."""
    (folder / "space.toml").write_text(SPACE)
    command = [
        sys.executable, "-m", "agecli", "tune", "cnn", "--data", data, "--space", "space.toml",
        "--epochs", 1, "--image-size", 48, "--limit", 1000, "--pruner", "none", "--trials", 10_000,
        "--workers", workers, "--timeout", seconds,
    ]  # fmt: skip
    began = datetime.now()
    # In a terminal of its own, where the display is drawn.
    terminal, inside = os.openpty()
    with subprocess.Popen(
        list(map(str, command)), cwd=folder, stdout=subprocess.DEVNULL, stderr=inside,
        env=os.environ | {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        os.close(inside)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        drain = subprocess.Popen(["cat"], stdin=terminal, **quiet)
        shown = psutil.Process(process.pid)
        time.sleep(SETTLED)
        start, used = time.monotonic(), sum(shown.cpu_times()[:2])
        time.sleep(seconds - SETTLED)
        share = (sum(shown.cpu_times()[:2]) - used) / (time.monotonic() - start)
        process.wait()
    os.close(terminal)
    drain.kill()
    drain.wait()
    study = Study.open(folder / "studies" / "cnn")
    assert study
    ends = (trial.datetime_complete for trial in study.progress(0).finished)
    return sum((end - began).total_seconds() <= seconds for end in ends if end), share


def main() -> None:
    data = Path(sys.argv[1]).resolve()
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 120.0
    counts = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            done, share = search(data, Path(folder), workers, seconds)
        print(f"{workers} workers: {done} trials in {seconds:.0f} s, display {share:.2%} of a core")
        counts.append(done)
    print(f"two workers against one: {counts[1] / counts[0]:.2f} x the trials")


if __name__ == "__main__":
    main()
