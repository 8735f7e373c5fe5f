"""The report of a search: a table of its best trials, and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agecli.config import BEST
from agecli.evaluation.report.grid import Grid
from agecli.evaluation.report.render import Page, Plots, Section
from agecli.files import Output, check_outputs, marked, write_text
from agecli.tuning.plots import MARK, PLOTS, draw_plots
from agecli.tuning.study import Study, StudyProgress
from agecli.tuning.summary import BEST_MARK, Summary


def check_study(folder: Path) -> None:
    """Raise UsageError if a search would overwrite a file that no search has written."""
    if not folder.is_dir():
        return
    names = ("report.html", *(f"{name}.png" for name in PLOTS))
    outputs = [Output("--study", folder / name, marked(MARK)) for name in names]
    check_outputs([Output("--study", folder / BEST, marked(BEST_MARK)), *outputs])


def write_report(study: Study, progress: StudyProgress, summary: Summary) -> list[Path]:
    """Draw the plots as PNG, and write one HTML file that contains them all."""
    pictures = draw_plots(study, progress, summary.importances)
    page = study.folder / "report.html"
    write_text(page, _page(summary, pictures).html())
    return [*pictures, page]


def _page(summary: Summary, pictures: list[Path]) -> Page:
    """Lay out the best trials, a column per setting, above the plots."""
    names = list(dict.fromkeys(name for trial in summary.top for name in trial.settings))
    grid = Grid(["trial", summary.metric, "epochs", *names])
    for trial in summary.top:
        settings = (show(trial.settings.get(name, "")) for name in names)
        grid.add(
            str(trial.trial), f"{trial.value:.4f}", str(trial.epochs), *settings,
            style="best" if trial == summary.best else "",
        )  # fmt: skip
    counts = ", ".join(f"{count} {state}" for state, count in summary.trials.items())
    plots = [Plots([picture]) for picture in pictures]  # each as wide as the page
    sections: list[Section] = [("Best trials", [grid]), ("Plots", [*plots])]
    return Page("tune", f"{summary.model}: results of the search", counts, sections)


def show(value: Any) -> str:
    """Format a setting's value."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
