"""Results of a search: the best trials, the importance of each setting, the best as a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from agecli.config import BEST, Value, write_toml
from agecli.files import write_text
from agecli.tuning.study import Study, StudyProgress

TOP = 10
"""Trials in the table of the best ones."""
FEWEST = 4
"""Fewest complete trials for which importances are meaningful."""

BUDGET = ("epochs", "limit", "vram_budget", "workers")
"""Settings of a trial that are left out when its result is trained again."""


@dataclass(frozen=True)
class TrialResult:
    """A trial that is over."""

    trial: int
    value: float | None
    """The metric at the epoch with the best validation loss; None for a failed trial."""
    epochs: int
    seconds: float | None
    settings: dict[str, Value]
    """The searched settings."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialResult:
        """Return the result of an Optuna trial."""
        seconds = trial.duration.total_seconds() if trial.duration else None
        epochs = len(trial.intermediate_values)
        return cls(trial.number, trial.value, epochs, seconds, trial.params)


@dataclass(frozen=True)
class Summary:
    """Results of a search."""

    study: Path
    """The study's folder."""
    model: str
    metric: str
    trials: dict[str, int]
    """Numbers of complete, pruned and failed trials."""
    best: TrialResult | None
    defaults: TrialResult | None
    """The trial with the default settings, if they lie in the space."""
    top: list[TrialResult]
    """The best complete trials, best first."""
    importances: dict[str, float]
    """Each setting's share of the variance between trials; empty if too few are complete."""
    errors: list[str]
    """Why trials failed."""
    files: list[Path] = field(default_factory=list)
    """The plots, and the page that contains them all."""


def summarise(study: Study, progress: StudyProgress) -> Summary:
    """Return the results so far."""
    first = next((t for t in progress.finished if t.number == 0), None)
    errors = {t.user_attrs["error"] for t in progress.finished if "error" in t.user_attrs}
    counts = {name: getattr(progress, name) for name in ("complete", "pruned", "failed")}
    return Summary(
        study=study.folder,
        model=study.spec.model,
        metric=study.spec.metric,
        trials=counts,
        best=TrialResult.of(progress.best) if progress.best else None,
        defaults=TrialResult.of(first) if first and _is_default(study, first) else None,
        top=[TrialResult.of(trial) for trial in ranking(study, progress)[:TOP]],
        importances=importances(study),
        errors=sorted(errors),
    )


def importances(study: Study) -> dict[str, float]:
    """Return each setting's share of the variance between trials (fANOVA, Hutter et al. 2014).

    Empty if too few trials are complete, or all are equal.
    """
    complete = study.inner.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    return {k: float(v) for k, v in get_param_importances(study.inner, evaluator=evaluator).items()}


def ranking(study: Study, progress: StudyProgress) -> list[FrozenTrial]:
    """Sort the complete trials by value, best first."""
    complete = [t for t in progress.finished if t.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda t: t.value or 0.0, reverse=not study.spec.minimises)


BEST_MARK = "# Trial "


def write_best(study: Study, best: FrozenTrial) -> Path:
    """Write the best trial's settings and the fixed ones, as `agecli train --config` reads them."""
    spec, epochs = study.spec, len(best.intermediate_values)
    given = {k: v for k, v in spec.asked.items() if k not in BUDGET and v is not None}
    settings = {"model": spec.model} | given | best.params
    title = f"{BEST_MARK}{best.number}: {spec.metric} {best.value:.4f}, {epochs} epochs\n"
    path = study.folder / BEST
    write_text(path, title + write_toml(settings))
    return path


def _is_default(study: Study, trial: FrozenTrial) -> bool:
    base = vars(study.spec.base)
    return all(base[name] == value for name, value in trial.params.items())
