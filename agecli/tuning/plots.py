"""Plots of a search as PNG: history, importances, slices, parallel coordinates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from agecli.config import Choice, Dimension
from agecli.evaluation.report.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    new_figure,
    new_figures,
    save_figure,
)
from agecli.tuning.study import Study, StudyProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK = "agecli tune"
PLOTS = ("history", "importances", "slice", "parallel")

LABELS = {
    "val_exact": "Exact accuracy on validation",
    "val_macro_f1": "Macro-F1 on validation",
    "val_loss": "Loss on validation",
}
COLUMNS = 4
"""Slices per row."""


def draw_plots(study: Study, progress: StudyProgress, importances: dict[str, float]) -> list[Path]:
    """Draw the plots for which there are trials into the study's folder; return the files."""
    complete = [t for t in progress.finished if t.state == TrialState.COMPLETE]
    plots: dict[str, Callable[[], Figure]] = {}
    if complete:
        plots["history"] = lambda: _history(study, progress)
    if importances:
        plots["importances"] = lambda: _importances(importances)
    if len(complete) > 1:
        plots["slice"] = lambda: _slice(study, complete)
        plots["parallel"] = lambda: _parallel(study, complete)
    for name, draw in plots.items():
        save_figure(draw(), study.folder / f"{name}.png", MARK)
    return [study.folder / f"{name}.png" for name in plots]


def _history(study: Study, progress: StudyProgress) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(8, 4.2, "Trials in the order they finished")
    order = {trial.number: place for place, trial in enumerate(progress.finished, 1)}
    styles = (
        (TrialState.COMPLETE, "finished", {"color": BLUE}),
        (TrialState.PRUNED, "pruned", {"facecolor": "none", "edgecolor": GREY}),
    )
    for state, label, style in styles:
        trials = [t for t in progress.finished if t.state == state and t.value is not None]
        if trials:
            places = [order[trial.number] for trial in trials]
            axes.scatter(places, [trial.value for trial in trials], label=label, **style)  # type: ignore[arg-type]
    first = len(progress.finished) - len(progress.history) + 1
    axes.step(
        range(first, len(progress.finished) + 1), progress.history, where="post", color=ORANGE,
        label="best so far",
    )  # fmt: skip
    axes.set_xlabel("Trial", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _value_axis(axes, study, [t.value for t in progress.finished if t.state == TrialState.COMPLETE])
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _importances(importances: dict[str, float]) -> Figure:
    title = "Importance: share of the variance between trials"
    figure, axes = new_figure(8, 0.42 * len(importances) + 1.2, title)
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names], color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{importances[name]:.0%}" for name in names], padding=4, color=INK)
    axes.set_xlim(0, max(importances.values()) * 1.12)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _slice(study: Study, complete: list[FrozenTrial]) -> Figure:
    dimensions = study.spec.dimensions
    columns = min(COLUMNS, len(dimensions))
    rows = -(-len(dimensions) // columns)
    title = "Each setting alone (later trials darker)"
    figure, grid = new_figures(3 * columns, 2.8 * rows + 0.4, title, rows, columns)
    values, order = [trial.value for trial in complete], [trial.number for trial in complete]
    for axes, (name, dimension) in zip(grid.flat, dimensions.items(), strict=False):
        at = [_position(dimension, trial.params[name]) for trial in complete]
        axes.scatter(at, values, c=order, cmap="Blues", edgecolor=GREY, linewidth=0.5,
                     vmin=-len(complete) / 2)  # fmt: skip
        axes.set_xticks(*zip(*_marks(dimension), strict=True))
        axes.set_xlim(-0.08, 1.08)
        axes.set_xlabel(name, color=INK)
    for axes in list(grid.flat)[len(dimensions) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        _value_axis(axes, study, values)
    return figure


def _parallel(study: Study, complete: list[FrozenTrial]) -> Figure:
    from matplotlib import colormaps

    dimensions = study.spec.dimensions
    names = [*dimensions, study.spec.metric]
    figure, axes = new_figure(max(8, 1.25 * len(names)), 4.6, "All settings of each finished trial")
    values = np.array([trial.value for trial in complete], dtype=float)
    low, high = float(values.min()), float(values.max())
    mark = "{:.4f}".format if study.spec.minimises else "{:.1%}".format
    worth = (values - low) / (high - low or 1)
    good = 1 - worth if study.spec.minimises else worth
    for place in np.argsort(good):  # the best on top
        trial = complete[place]
        line = [_position(d, trial.params[name]) for name, d in dimensions.items()]
        colour = colormaps["Blues"](0.25 + 0.75 * good[place])
        width = 2.5 if good[place] == 1 else 1.2
        axes.plot(range(len(names)), [*line, worth[place]], color=colour, linewidth=width)
    for place, dimension in enumerate(dimensions.values()):
        _scale(axes, place, _marks(dimension))
    _scale(axes, len(dimensions), [(0.0, mark(low)), (1.0, mark(high))])
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.3, len(names) - 0.5)
    axes.set_ylim(-0.08, 1.08)
    axes.yaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    return figure


def _scale(axes: Axes, place: int, marks: list[tuple[float, str]]) -> None:
    """Draw one of the parallel axes, with its tick marks."""
    axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
    for height, text in marks:
        axes.annotate(
            text, (place, height), xytext=(3, 3), textcoords="offset points", fontsize=8, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip


def _position(dimension: Dimension, value: Any) -> float:
    """Return a value's position on its axis, from 0 to 1."""
    if isinstance(dimension, Choice):
        return dimension.values.index(value) / max(1, len(dimension.values) - 1)
    low, high = dimension.low, dimension.high
    if low == high:
        return 0.5
    if dimension.log:
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    """Return positions and labels of the tick marks on a dimension's axis."""
    if isinstance(dimension, Choice):
        return [(_position(dimension, value), str(value)) for value in dimension.values]
    low, high = dimension.low, dimension.high
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return [(_position(dimension, value), f"{value:.2g}") for value in (low, middle, high)]


def _value_axis(axes: Axes, study: Study, values: list[Any]) -> None:
    """Label the value axis, in percent for shares, and clip it to the range of complete trials."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylabel(LABELS[study.spec.metric], color=INK)
    if not study.spec.minimises:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    margin = 0.12 * (max(values) - min(values)) or 0.01
    axes.set_ylim(min(values) - margin, max(values) + margin)
