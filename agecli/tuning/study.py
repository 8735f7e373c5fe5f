"""A study: trials in Optuna's storage, claimed one by one by any number of workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna import Trial
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from agecli.config import Metric, Pruner, Settings, Space, TrainConfig, read_config, read_space
from agecli.errors import TrainingError, UsageError, brief
from agecli.reading import convert
from agecli.tuning.checks import check_trials
from agecli.tuning.sampling import SeededSampler, holds, make_pruner, suggest
from agecli.tuning.storage import JOURNAL, damaged, open_storage

SPEC = "agecli"
"""The study's attribute with its `Spec`."""
MOST_ATTEMPTS = 3
"""Attempts at a trial whose worker is killed."""


@dataclass(frozen=True)
class Spec:
    """The definition of a study, for all its workers on all machines."""

    model: str
    settings: Settings
    """The configuration of every trial, except for the searched settings."""
    asked: Settings
    """The settings fixed on the command line."""
    space: Settings
    """The search space, as TOML values."""
    metric: Metric
    pruner: Pruner
    split_hash: str

    @property
    def base(self) -> TrainConfig:
        """Return the configuration of every trial, except for the searched settings."""
        return read_config(self.settings)

    @property
    def dimensions(self) -> Space:
        """Return the search space."""
        return read_space(self.space, SPEC)[0]

    @property
    def minimises(self) -> bool:
        """Return whether a lower metric is better."""
        return self.metric == "val_loss"


@dataclass
class StudyProgress:
    """The progress of a study."""

    trials: int
    """Number of trials requested."""
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    history: list[float] = field(default_factory=list)
    """The best value so far, after each finished trial."""
    best: FrozenTrial | None = None
    finished: list[FrozenTrial] = field(default_factory=list)
    """Trials that are over, except by a killed worker, in order of time."""
    seconds: float = 0.0
    """Mean duration of a trial."""

    @property
    def done(self) -> int:
        """Count the trials that are over."""
        return self.complete + self.pruned + self.failed


class Study:
    """A study in a folder, its trials in a journal there or in a database."""

    def __init__(self, folder: Path, inner: optuna.Study, spec: Spec, *, on_journal: bool) -> None:
        self.folder, self.inner, self.spec, self.on_journal = folder, inner, spec, on_journal
        inner.sampler = SeededSampler(spec.base.seed)
        inner.pruner = make_pruner(spec.pruner, spec.base.epochs)
        self._claim = FileLock(folder / "claim.lock")

    @classmethod
    def open(cls, folder: Path, url: str = "") -> Study | None:
        """Open an existing study; return None if there is none.

        Raises TrainingError for one that is damaged or from an incompatible version of agecli.
        """
        if not url and not (folder / JOURNAL).exists():
            return None
        try:
            name = folder.resolve().name
            inner = optuna.load_study(study_name=name, storage=_open(folder, url))
        except KeyError:
            return None
        kept = inner.user_attrs.get(SPEC)
        if kept is None:  # killed while it was created
            return None
        try:
            spec = convert(kept, Spec)
            study = cls(folder, inner, spec, on_journal=not url)
            check_trials(inner, spec.dimensions, minimises=spec.minimises)
        except UsageError as error:
            raise TrainingError(
                f"{folder} is a study of another version of agecli ({brief(error)}): start another "
                "with --study"
            ) from error
        except Exception as error:  # as in `open_storage`
            raise damaged((url and name) or folder / JOURNAL, error) from error
        return study

    @classmethod
    def create(cls, folder: Path, url: str, spec: Spec) -> Study:
        """Create a study, whose first trial has the default settings."""
        folder.mkdir(parents=True, exist_ok=True)
        inner = optuna.create_study(
            study_name=folder.resolve().name, storage=_open(folder, url), load_if_exists=True,
            direction="minimize" if spec.minimises else "maximize",
        )  # fmt: skip
        defaults = {name: getattr(spec.base, name) for name in spec.dimensions}
        if all(holds(spec.dimensions[name], value) for name, value in defaults.items()):
            inner.enqueue_trial(defaults)
        inner.set_user_attr(SPEC, asdict(spec))
        return cls(folder, inner, spec, on_journal=not url)

    def work(self, trials: int, train: Callable[[Claimed], float]) -> bool:
        """Claim one trial and train it; return False if none is left.

        trials: number requested. train: returns the trial's value; raises TrialPruned
        for a pruned trial, TrainingError for a failed one.
        """
        claimed: Claimed | None = None

        def objective(trial: Trial) -> float:
            nonlocal claimed
            claimed = Claimed.take(self, trial)
            self._claim.release()
            try:
                return train(claimed)
            except TrainingError as error:
                trial.set_user_attr("error", str(error))
                raise

        self._claim.acquire()  # one at a time counts and claims: no trial too many
        try:
            self._fail_stale()
            if not self._left(trials):
                return False
            self.inner.optimize(objective, n_trials=1, catch=(TrainingError,))
        finally:
            self._claim.release()
            if claimed:  # only now is its end recorded
                claimed.release()
        return True

    def left(self, trials: int) -> int:
        """Count the trials left to claim, after failing those whose worker has died."""
        with self._claim:
            self._fail_stale()
            return self._left(trials)

    def _left(self, trials: int) -> int:
        progress = self.progress(trials)
        return max(0, trials - progress.done - progress.running)

    def progress(self, trials: int) -> StudyProgress:
        """Return the counts of trials by state, and the course of the best value."""
        progress = StudyProgress(trials)
        every = self.inner.get_trials(deepcopy=False)
        progress.running = sum(trial.state == TrialState.RUNNING for trial in every)
        over = [trial for trial in every if trial.state.is_finished() and not was_killed(trial)]
        progress.finished = sorted(over, key=lambda trial: str(trial.datetime_complete))
        for trial in progress.finished:
            progress.complete += trial.state == TrialState.COMPLETE
            progress.pruned += trial.state == TrialState.PRUNED
            progress.failed += trial.state == TrialState.FAIL
            if trial.state == TrialState.COMPLETE and self.beats(trial, progress.best):
                progress.best = trial
            if progress.best:
                progress.history.append(progress.best.value or 0.0)
        lasted = [trial.duration.total_seconds() for trial in over if trial.duration]
        progress.seconds = sum(lasted) / max(1, len(lasted))
        return progress

    def beats(self, trial: FrozenTrial, other: FrozenTrial | None) -> bool:
        """Return whether a finished trial is better than another; always, if the other is None."""
        if other is None:
            return True
        assert trial.value is not None and other.value is not None
        return (trial.value < other.value) if self.spec.minimises else (trial.value > other.value)

    def _fail_stale(self) -> None:
        """Fail trials whose worker is gone, and queue them again.

        Known by the lock it held; in a database by heartbeats, since it may run anywhere.
        """
        if not self.on_journal:
            optuna.storages.fail_stale_trials(self.inner)
            return
        for trial in self.inner.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = self.lock_of(trial)
            with suppress(Timeout), lock.acquire(timeout=0):
                ended = self.inner.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                if was_killed(ended):
                    _try_again(self.folder, self.inner, ended)
                Path(lock.lock_file).unlink(missing_ok=True)

    def lock_of(self, trial: Trial | FrozenTrial) -> FileLock:
        """Return the lock that a trial's worker holds while it runs."""
        path = self.folder / "trials" / f"{trial.number:04}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)


@dataclass
class Claimed:
    """A trial that this process has claimed and trains exclusively."""

    trial: Trial
    folder: Path
    """Its run folder; that of the first attempt, so that it resumes from there."""
    settings: Settings
    """The trial's values of the searched settings."""
    _lock: FileLock

    @classmethod
    def take(cls, study: Study, trial: Trial) -> Claimed:
        """Acquire a trial's lock, and draw its settings."""
        lock = study.lock_of(trial)
        lock.acquire()
        first = trial.user_attrs.get("first", trial.number)
        settings = {
            name: suggest(trial, name, dimension)
            for name, dimension in study.spec.dimensions.items()
        }
        return cls(trial, study.folder / "trials" / f"{first:04}", settings, lock)

    def mark_stopped(self) -> None:
        """Record that the search was stopped, so that the trial is not at fault."""
        _stopped(Path(self._lock.lock_file)).touch()

    def release(self) -> None:
        """Release the lock."""
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()


def was_killed(trial: FrozenTrial) -> bool:
    """Return whether a trial failed because its worker died; it is then retried."""
    return trial.state == TrialState.FAIL and "error" not in trial.user_attrs


def _try_again(folder: Path, study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a killed trial again, with the same settings; without limit if it was stopped."""
    attempts = trial.user_attrs.get("attempts", 1)
    stopped = _stopped(folder / "trials" / f"{trial.number:04}")
    if not stopped.exists():
        attempts += 1
    if attempts <= MOST_ATTEMPTS and trial.params:
        first = trial.user_attrs.get("first", trial.number)
        study.enqueue_trial(trial.params, user_attrs={"attempts": attempts, "first": first})
    stopped.unlink(missing_ok=True)


def _stopped(trial: Path) -> Path:
    """Return the file that marks a trial as stopped, and not as killing its worker."""
    return trial.with_suffix(".stopped")


def _open(folder: Path, url: str) -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the library is silent
    return open_storage(folder, url, partial(_try_again, folder))
