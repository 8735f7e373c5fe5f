"""A worker of a search: a process that claims trials of a study and trains them one by one."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from optuna import Trial, TrialPruned

from agecli.config import PLACE, Metric, Settings, TrainConfig
from agecli.data.store import Dataset, open_for
from agecli.errors import AgecliError, DataError, TrainingError
from agecli.reading import decode
from agecli.training.observer import Observer
from agecli.training.records import Epoch, Started
from agecli.training.runs import Run
from agecli.training.train import fit
from agecli.tuning.study import Claimed, Study

REFUSED = 3
"""Exit code of a worker that reports in one line why no worker can run."""


@dataclass(frozen=True)
class Job:
    """The instructions that a worker reads from its standard input."""

    folder: str
    url: str
    trials: int
    place: Settings
    """Settings of this machine: the location of its data, its device."""
    deadline: float | None = None
    """Time, as of `time.time`, after which no trial starts."""


def main() -> None:
    """Work until no trial is left; end at once when standard input closes, with the parent.

    An error of the search is the last line on standard error, with exit code REFUSED.
    """
    job = decode(sys.stdin.readline(), Job)
    taken: list[Claimed] = []
    threading.Thread(target=_end_with_starter, args=[taken], daemon=True).start()
    try:
        work(job, taken)
    except AgecliError as error:
        _mark_stopped(taken)
        sys.stderr.write(f"\n{' '.join(str(error).split())}\n")
        sys.exit(REFUSED)


def work(job: Job, taken: list[Claimed] | None = None) -> None:
    """Train trials until none is left or time is up.

    taken: receives the trial being trained. Raises TrainingError if there is no study,
    DataError for data of another split.
    """
    study = Study.open(Path(job.folder), job.url)
    if study is None:
        raise TrainingError(f"No study in {job.folder}")
    base = replace(study.spec.base, **job.place)
    dataset = open_for(base)
    if dataset.split_hash != study.spec.split_hash:
        raise DataError(
            f"--data: {base.data} has another split than this study's: prepare it from the same "
            "pictures with the same options, or start another --study"
        )

    def train(claimed: Claimed) -> float:
        if taken is not None:
            taken.append(claimed)
        value = train_trial(base, dataset, claimed, study.spec.metric)
        if taken is not None:
            taken.clear()
        return value

    while job.deadline is None or time.time() < job.deadline:
        if not study.work(job.trials, train):
            break


def train_trial(base: TrainConfig, dataset: Dataset, claimed: Claimed, metric: Metric) -> float:
    """Train a trial and return the metric of the epoch with the lowest validation loss.

    A trial that was started before resumes. Raises TrialPruned when it is pruned.
    """
    run, config = _open_run(base, dataset, claimed)
    reporter = Reporter(claimed.trial, run, metric)
    try:
        fit(config, run, reporter, score=False)
    except (TrialPruned, TrainingError):
        _strip(run)
        raise
    _strip(run)
    return reporter.value


class Reporter(Observer):
    """Reports each epoch to Optuna, and ends a trial when the pruner says so."""

    def __init__(self, trial: Trial, run: Run, metric: Metric) -> None:
        self.trial, self.run, self.metric = trial, run, metric
        self.value = float("nan")
        self.counts = True
        for epoch in run.history():
            self._take(epoch)

    def started(self, training: Started) -> None:
        """Skip stages before the training itself."""
        self.counts = training.run == str(self.run.folder)

    def finished_epoch(self, epoch: Epoch) -> None:
        """Report an epoch; raise TrialPruned if the trial is to be pruned."""
        if self.counts:
            self._take(epoch)
            if self.trial.should_prune():
                raise TrialPruned("stopped by the pruner")  # fastai wants a message

    def _take(self, epoch: Epoch) -> None:
        value = epoch.val.to_plain()[self.metric]
        self.trial.report(value, epoch.epoch)
        if epoch.best:
            self.value = value


def _open_run(base: TrainConfig, dataset: Dataset, claimed: Claimed) -> tuple[Run, TrainConfig]:
    """Open the run of an earlier attempt, or create one."""
    from agecli.training.devices import choose_device
    from agecli.training.memory_plan.budget import plan_training

    config = replace(base, **claimed.settings)
    if (claimed.folder / "config.json").exists():
        run, kept = Run.open(claimed.folder)
        if isinstance(kept, type(base)) and asdict(kept) | claimed.settings == asdict(kept):
            kept = replace(kept, **{name: getattr(base, name) for name in PLACE})
            run.configure(kept)
            run.load()  # repairs the metrics, which are reported to the study
            return run, kept
    shutil.rmtree(claimed.folder, ignore_errors=True)
    if config.vram_budget:
        config = plan_training(config, dataset, choose_device(config).type).config
    return Run.create(claimed.folder, config), config


def _strip(run: Run) -> None:
    """Keep only a finished trial's configuration and metrics; `agecli train` makes weights."""
    shutil.rmtree(run.folder / "last", ignore_errors=True)
    shutil.rmtree(run.folder / "head", ignore_errors=True)
    run.best.unlink(missing_ok=True)


def _end_with_starter(taken: list[Claimed]) -> None:
    """End this process, whatever it is doing, when its standard input closes."""
    sys.stdin.read()
    _mark_stopped(taken)
    os._exit(1)


def _mark_stopped(taken: list[Claimed]) -> None:
    """Mark the trial in progress as stopped, so that it is retried without limit."""
    for claimed in taken[-1:]:
        with suppress(OSError):
            claimed.mark_stopped()


if __name__ == "__main__":
    main()
