"""What a search found: the best settings as a file, the importances, the summary, the plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from agecli.config import BEST, write_toml
from agecli.evaluation.report.grid import Grid
from agecli.evaluation.report.render import Page, Plots, Section
from agecli.files import write_text
from agecli.tuning.plots import draw_plots
from agecli.tuning.study import Progress, Study

TOP = 10
"""Trials in the table of the best."""
FEWEST = 4
"""Finished trials from which on importances say something."""

BUDGET = ("epochs", "limit", "vram_budget", "workers")
"""Settings of a trial that are none of a training with its result."""


def write_best(study: Study, best: FrozenTrial) -> Path:
    """Write the best trial's settings, with those that were given, as `agecli train` reads them."""
    spec = study.spec
    given = {k: v for k, v in spec.asked.items() if k not in BUDGET and v is not None}
    settings = {"model": spec.model} | given | best.params
    title = f"# Trial {best.number}: {spec.metric} {best.value:.4f}, {len(_epochs(best))} epochs\n"
    path = study.folder / BEST
    write_text(path, title + write_toml(settings))
    return path


def importances(study: Study) -> dict[str, float]:
    """Return each setting's share of what makes the trials differ (fANOVA, Hutter et al. 2014).

    Empty where too few trials are finished, or all are alike.
    """
    complete = study.inner.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    return {k: float(v) for k, v in get_param_importances(study.inner, evaluator=evaluator).items()}


def summarise(study: Study, progress: Progress) -> dict[str, Any]:
    """Return what the search found as plain values for JSON."""
    spec, best = study.spec, progress.best
    first = next((t for t in progress.finished if t.number == 0), None)
    errors = {t.user_attrs["error"] for t in progress.finished if "error" in t.user_attrs}
    return {
        "study": str(study.folder),
        "model": spec.model,
        "metric": spec.metric,
        "trials": {
            "complete": progress.complete, "pruned": progress.pruned, "failed": progress.failed
        },
        "best": best and _describe(best),
        "defaults": _describe(first) if first and _is_default(study, first) else None,
        "top": [_describe(trial) for trial in ranking(study, progress)[:TOP]],
        "importances": importances(study),
        "errors": sorted(errors),
    }  # fmt: skip


def ranking(study: Study, progress: Progress) -> list[FrozenTrial]:
    """Order the complete trials by their value, the best first."""
    complete = [t for t in progress.finished if t.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda t: t.value or 0.0, reverse=not study.spec.minimises)


def write_report(study: Study, progress: Progress, summary: dict[str, Any]) -> list[Path]:
    """Draw the plots as PNG, and write one HTML file that holds them all."""
    pictures = draw_plots(study, progress, summary["importances"])
    page = study.folder / "report.html"
    write_text(page, _page(summary, pictures).html())
    return [*pictures, page]


def _is_default(study: Study, trial: FrozenTrial) -> bool:
    base = vars(study.spec.base)
    return all(base[name] == value for name, value in trial.params.items())


def _describe(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "value": trial.value,
        "epochs": len(_epochs(trial)),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "settings": trial.params,
    }


def _epochs(trial: FrozenTrial) -> dict[int, float]:
    return trial.intermediate_values


def _page(summary: dict[str, Any], pictures: list[Path]) -> Page:
    """Lay out the best trials, a column per setting, above the plots."""
    top = summary["top"]
    names = list(dict.fromkeys(name for trial in top for name in trial["settings"]))
    grid = Grid(["trial", summary["metric"], "epochs", *names])
    for trial in top:
        settings = (show(trial["settings"].get(name, "")) for name in names)
        grid.add(
            str(trial["trial"]), f"{trial['value']:.4f}", str(trial["epochs"]), *settings,
            style="best" if trial == summary["best"] else "",
        )  # fmt: skip
    counts = ", ".join(f"{count} {state}" for state, count in summary["trials"].items())
    sections: list[Section] = [("Best trials", [grid]), ("Plots", [Plots(pictures)])]
    return Page("tune", f"{summary['model']}: what a search found", counts, sections)


def show(value: Any) -> str:
    """Write a setting's value shortly."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
