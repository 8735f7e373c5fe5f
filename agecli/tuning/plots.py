"""A search in pictures: history, importances, slices, parallel coordinates, as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from agecli.config import Choice, Dimension, Float, Int
from agecli.tuning.study import Study, StudyProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREY = "#1f2933", "#2b6cb0", "#c05621", "#9fb3c8"
LABELS = {
    "val_exact": "Exact accuracy on validation",
    "val_macro_f1": "Macro-F1 on validation",
    "val_loss": "Loss on validation",
}
COLUMNS = 4
"""Slices beside each other."""


def draw_plots(study: Study, progress: StudyProgress, importances: dict[str, float]) -> list[Path]:
    """Draw what there is to draw into the study's folder; give the files."""
    complete = [t for t in progress.finished if t.state == TrialState.COMPLETE]
    plots: dict[str, Callable[[], Figure]] = {}
    if complete:
        plots["history"] = lambda: _history(study, progress)
    if importances:
        plots["importances"] = lambda: _importances(importances)
    if len(complete) > 1:
        plots["slice"] = lambda: _slice(study, complete)
        plots["parallel"] = lambda: _parallel(study, complete)
    paths = []
    for name, draw in plots.items():
        path = study.folder / f"{name}.png"
        draw().savefig(path, format="png")
        paths.append(path)
    return paths


def _history(study: Study, progress: StudyProgress) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(8, 4.2, "Trials in the order they were finished")
    order = {trial.number: place for place, trial in enumerate(progress.finished, 1)}
    styles = (
        (TrialState.COMPLETE, "finished", {"color": BLUE}),
        (TrialState.PRUNED, "given up early", {"facecolor": "none", "edgecolor": GREY}),
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
    title = "Share of each setting in what makes the trials differ"
    figure, axes = _figure(8, 0.42 * len(importances) + 1.2, title)
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names], color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{importances[name]:.0%}" for name in names], padding=4, color=INK)
    axes.set_xlim(0, max(importances.values()) * 1.12)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _slice(study: Study, complete: list[FrozenTrial]) -> Figure:
    from matplotlib.figure import Figure

    dimensions = study.spec.dimensions
    rows = -(-len(dimensions) // COLUMNS)
    figure = Figure(
        figsize=(3 * min(COLUMNS, len(dimensions)), 2.8 * rows + 0.4), dpi=150, facecolor="white",
        layout="constrained",
    )  # fmt: skip
    grid = figure.subplots(rows, min(COLUMNS, len(dimensions)), squeeze=False, sharey=True)
    values = [trial.value for trial in complete]
    for axes, (name, dimension) in zip(grid.flat, dimensions.items(), strict=False):
        at = [trial.params[name] for trial in complete]
        if isinstance(dimension, Choice):
            at = [dimension.values.index(value) for value in at]
            axes.set_xticks(range(len(dimension.values)), map(str, dimension.values))
            axes.set_xlim(-0.5, len(dimension.values) - 0.5)
        else:
            if dimension.log:
                axes.set_xscale("log")
            low, high = dimension.low, dimension.high
            marks = [low, _middle(dimension), high]
            edge = (high / low) ** 0.05 if dimension.log else 0.05 * (high - low)
            if low < high:
                ends = (low / edge, high * edge) if dimension.log else (low - edge, high + edge)
                axes.set_xlim(*ends)
            axes.set_xticks(marks, [f"{mark:.2g}" for mark in marks])
            axes.minorticks_off()
        axes.scatter(at, values, c=[t.number for t in complete], cmap="Blues", edgecolor=GREY,
                     linewidth=0.5, vmin=-len(complete) / 2)  # fmt: skip
        axes.set_xlabel(name, color=INK)
        _plain(axes)
    for axes in list(grid.flat)[len(dimensions) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        _value_axis(axes, study, values)
    _suptitle(figure, "Each setting by itself (later trials darker)")
    return figure


def _parallel(study: Study, complete: list[FrozenTrial]) -> Figure:
    from matplotlib import colormaps

    dimensions = study.spec.dimensions
    names = [*dimensions, study.spec.metric]
    figure, axes = _figure(max(8, 1.25 * len(names)), 4.6, "All settings of each finished trial")
    values = np.array([trial.value for trial in complete], dtype=float)
    low, high = float(values.min()), float(values.max())
    mark = "{:.4f}".format if study.spec.minimises else "{:.1%}".format
    worth = (values - low) / (high - low or 1)
    good = 1 - worth if study.spec.minimises else worth
    for place in np.argsort(good):  # the best lie on top
        trial = complete[place]
        line = [_position(d, trial.params[name]) for name, d in dimensions.items()]
        colour = colormaps["Blues"](0.25 + 0.75 * good[place])
        width = 2.5 if good[place] == 1 else 1.2
        axes.plot(range(len(names)), [*line, worth[place]], color=colour, linewidth=width)
    for place, dimension in enumerate(dimensions.values()):
        if isinstance(dimension, Choice):
            marks = [(_position(dimension, v), str(v)) for v in dimension.values]
        else:
            marks = [(0.0, f"{dimension.low:g}"), (1.0, f"{dimension.high:g}")]
        _scale(axes, place, marks)
    _scale(axes, len(dimensions), [(0.0, mark(low)), (1.0, mark(high))])
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.3, len(names) - 0.5)
    axes.set_ylim(-0.08, 1.08)
    axes.yaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    return figure


def _scale(axes: Axes, place: int, marks: list[tuple[float, str]]) -> None:
    """Draw one of the parallel axes, with its marks."""
    axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
    for height, text in marks:
        axes.annotate(
            text, (place, height), xytext=(3, 3), textcoords="offset points", fontsize=8, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip


def _position(dimension: Dimension, value: Any) -> float:
    """Return a value's place on its axis, from 0 to 1."""
    if isinstance(dimension, Choice):
        return dimension.values.index(value) / max(1, len(dimension.values) - 1)
    low, high = dimension.low, dimension.high
    if low == high:
        return 0.5
    if dimension.log:
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


def _middle(dimension: Float | Int) -> float:
    """Return the value half-way on the dimension's scale."""
    low, high = dimension.low, dimension.high
    return float(np.sqrt(low * high)) if dimension.log else (low + high) / 2


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    _suptitle(figure, title)
    return figure, axes


def _suptitle(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)


def _plain(axes: Axes) -> None:
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _value_axis(axes: Axes, study: Study, values: list[Any]) -> None:
    """Name the value's axis, in percent where it is a share, and cut it to finished trials."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylabel(LABELS[study.spec.metric], color=INK)
    if not study.spec.minimises:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    margin = 0.12 * (max(values) - min(values)) or 0.01
    axes.set_ylim(min(values) - margin, max(values) + margin)
