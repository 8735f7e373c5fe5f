"""The search: starts workers on a study, watches them, and keeps the best settings on disk."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from agecli.config import Settings
from agecli.data.workers import default_workers
from agecli.errors import TrainingError
from agecli.tuning.study import Study, StudyProgress
from agecli.tuning.summary import write_best
from agecli.tuning.worker import REFUSED, Job

POLL_SECONDS = 0.5
"""Seconds between two polls of the study and its workers."""
MOST_DEATHS = 5
"""Consecutive workers that may be killed without finishing a trial."""
LAST_SECONDS = 5.0
"""Seconds that a worker has to end once its search ends."""
IDLE_SECONDS = 5.0
"""Seconds between two polls for stale trials of other machines, once ours are done."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    log: Path
    slot: int

    def dismiss(self) -> None:
        """Make it end at once."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def end(self, patience: float | None = None) -> int:
        """Wait for its end, or kill it after some seconds; return its exit code."""
        self.dismiss()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Search:
    """The workers of one machine on a study; leaving the context ends them all."""

    def __init__(
        self, study: Study, *, url: str, trials: int, workers: int, timeout: float | None,
        place: Settings,
    ) -> None:  # fmt: skip
        deadline = None if timeout is None else time.time() + timeout
        self.job = Job(str(study.folder), url, trials, place, deadline)
        self.study, self.count = study, workers
        self.gpus = _count_gpus(place.get("device", "auto"))
        self.workers: list[_Worker] = []
        self.deaths = 0

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.dismiss()  # its trial resumes from its last epoch
        for worker in self.workers:
            worker.end(LAST_SECONDS)

    def run(self, show: Callable[[StudyProgress], None]) -> StudyProgress:
        """Run until all trials are over or time is up; call show a few times a second.

        Raises TrainingError, with a worker's message, if no worker can run.
        """
        progress = self.study.progress(self.job.trials)
        best = None
        looked = 0.0
        while True:
            if progress.best and progress.best.number != best:
                best = progress.best.number
                write_best(self.study, progress.best)  # also after a kill in between
                show(progress)
            self._reap(progress)
            late = self.job.deadline is not None and time.time() >= self.job.deadline
            if not self.workers and (late or progress.done >= self.job.trials):
                return progress
            if (
                not late
                and len(self.workers) < self.count
                and (time.monotonic() - looked > IDLE_SECONDS)
            ):
                looked = time.monotonic()
                self._fill(progress)
            show(progress)
            time.sleep(POLL_SECONDS)
            done = progress.done
            progress = self.study.progress(self.job.trials)
            self.deaths = 0 if progress.done > done else self.deaths

    def _fill(self, progress: StudyProgress) -> None:
        """Start workers while trials are left for them."""
        free = set(range(self.count)) - {worker.slot for worker in self.workers}
        left = self.study.left(self.job.trials)
        for slot in sorted(free)[:left]:
            self.workers.append(self._start(slot))

    def _start(self, slot: int) -> _Worker:
        """Start a worker with its share of the CPUs, or on its GPU."""
        threads = max(1, default_workers() // self.count)
        given = os.environ.get("OMP_NUM_THREADS", "")
        if given.isdecimal():
            threads = min(threads, max(1, int(given)))
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        if self.gpus:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.gpus)))
            devices = seen.split(",")
            environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
        log = self.study.folder / f"worker-{slot + 1}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "agecli.tuning.worker"],
                stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment,
                # Ctrl-C is for this process only: a worker that gets it would fail its trial.
                start_new_session=True,
            )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its log then says why
            process.stdin.write(json.dumps(asdict(self.job)).encode() + b"\n")
            process.stdin.flush()  # stays open: closing it ends the worker
        return _Worker(process, log, slot)

    def _reap(self, progress: StudyProgress) -> None:
        """Remove workers that have ended; raise the error of one that failed."""
        for worker in [w for w in self.workers if w.process.poll() is not None]:
            self.workers.remove(worker)
            code = worker.end()
            if code == REFUSED:
                raise TrainingError(_last_line(worker.log))
            if code > 0:
                last = _last_line(worker.log)
                raise TrainingError(f"A worker ended with {last}: see {worker.log}")
            if code < 0:
                self.deaths += 1
            if self.deaths >= MOST_DEATHS:
                raise TrainingError(
                    f"{self.deaths} consecutive workers were killed before they finished a trial "
                    f"(the last by signal {-code}, as when memory runs out): use fewer --workers, "
                    "or a smaller --batch-size or --image-size"
                )


def _count_gpus(device: str) -> int:
    """Count the GPUs that workers share: 0 if they train on another device."""
    import torch

    from agecli.inference.pytorch import find_device

    return torch.cuda.device_count() if find_device(device) == "cuda" else 0


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
