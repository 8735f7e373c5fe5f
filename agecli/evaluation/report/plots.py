"""Plots as PNG files; matplotlib is imported on demand, without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agecli.evaluation.coverage import risks
from agecli.evaluation.metrics import calibration_bins, calibration_error
from agecli.evaluation.perturbations import PERTURBATIONS, Perturbation
from agecli.evaluation.robustness import CLEAN, Robustness, Score
from agecli.files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK = "agecli evaluate"
"""The software named in the PNGs."""
INK, BLUE, ORANGE, GREY = "#1f2933", "#2b6cb0", "#c05621", "#9fb3c8"
_COLOURS = (BLUE, ORANGE, "#2f855a", "#6b46c1", "#4a5568")
"""Colours of the models, in turn."""
_YEARS = 5
"""Years over which an error is averaged."""
_CELL_INCHES = 0.62


def new_figures(
    width: float, height: float, title: str, rows: int, columns: int
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure, sides in inches, and its empty plots, an array (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    plots = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in plots.flat:
        axes.tick_params(colors=INK, labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure, plots


def new_figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure, sides in inches, with one empty plot."""
    figure, plots = new_figures(width, height, title, 1, 1)
    return figure, plots[0, 0]


def save_figure(figure: Figure, path: Path, mark: str = MARK) -> None:
    """Write a figure as PNG, with the software's name in its metadata."""
    with whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": mark})


def plot_confusion(path: Path, confusion: ArrayLike, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix as PNG: counts beside percentages of each row.

    confusion: (groups, groups), true groups in rows, predicted groups in columns, young to old.
    Raises OSError if the file cannot be written.
    """
    counts = np.asarray(confusion)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = _CELL_INCHES * max(len(labels), 5) + 1.2
    figure, panels = new_figures(2 * side, side + 0.5, title, 1, 2)
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15, wspace=0.06)
    # Colours follow the shares on both sides: one large group would leave the others pale.
    numbers = [[f"{n:,}" if n else "" for n in row] for row in counts]
    percents = [[_percent(share) for share in row] for row in shares]
    heads = ("Images", "Percent of each true group")
    for axes, texts, head in zip(panels[0], (numbers, percents), heads, strict=True):
        _draw(axes, shares, texts, labels)
        axes.set_title(head, fontsize=11, color=INK, loc="left")
    panels[0, 0].set_ylabel("True age group", color=INK)
    save_figure(figure, path)


def plot_rates(path: Path, rates: ArrayLike, losses: ArrayLike, chosen: float) -> None:
    """Draw the losses of a learning-rate search as PNG, with the chosen rate.

    rates, losses: (N,), in the order of the search. Raises OSError if the file cannot be written.
    """
    losses = np.asarray(losses)
    figure, axes = new_figure(7, 4.2, "Learning-rate search (fastai's lr_find, valley)")
    axes.plot(np.asarray(rates), losses, color=BLUE, linewidth=2)
    axes.axvline(chosen, color=ORANGE, linewidth=1.5, linestyle="--")
    axes.annotate(
        f"chosen: {chosen:.1e}", (chosen, 1), xycoords=("data", "axes fraction"),
        xytext=(6, -14), textcoords="offset points", color=ORANGE,
    )  # fmt: skip
    # At the end of the search the loss explodes: the plot shows the fall before.
    start, low = float(np.max(losses[:10])), float(np.min(losses))
    axes.set_ylim(low - 0.1 * (start - low), start + 0.5 * (start - low) + 1e-6)
    axes.set_xscale("log")
    axes.set_xlabel("Learning rate", color=INK)
    axes.set_ylabel("Training loss, smoothed", color=INK)
    save_figure(figure, path)


def plot_reliability(
    path: Path, probabilities: NDArray[np.floating], truth: NDArray[np.integer], title: str
) -> None:
    """Draw accuracy over confidence (a reliability diagram) as PNG.

    probabilities: (N, groups); truth: (N,) groups. Raises OSError if it cannot be written.
    """
    images, confidence, accuracy = calibration_bins(probabilities, truth)
    error = calibration_error(probabilities, truth)
    figure, axes = new_figure(6, 4.6, f"{title}: calibration error {error:.1%}")
    full = images > 0
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="ideal")
    axes.scatter(
        confidence[full], accuracy[full], s=12 + 300 * images[full] / images.sum(), color=BLUE,
        label="images, by area", zorder=2,
    )  # fmt: skip
    axes.set_xlabel("Probability of the predicted group", color=INK)
    axes.set_ylabel("Accuracy", color=INK)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03))
    axes.legend(frameon=False, labelcolor=INK, loc="upper left", markerscale=0.6)
    save_figure(figure, path)


def plot_risk(path: Path, sure: NDArray[np.floating], right: NDArray[np.bool_], title: str) -> None:
    """Draw the error rate over coverage, the most confident first, as PNG.

    sure: (N,) confidence; right: (N,). Raises OSError if it cannot be written.
    """
    risk = risks(sure, right)
    figure, axes = new_figure(6, 4.6, f"{title}: risk and coverage, AURC {risk.mean():.3f}")
    answered = np.arange(1, len(risk) + 1) / len(risk)
    axes.plot(100 * answered, 100 * risk, color=BLUE, linewidth=2)
    half = (len(risk) - 1) // 2
    axes.plot(100 * answered[half], 100 * risk[half], "o", color=ORANGE)
    axes.annotate(
        f"{risk[half]:.1%} of the most confident half", (100 * answered[half], 100 * risk[half]),
        xytext=(8, -14), textcoords="offset points", color=ORANGE,
    )  # fmt: skip
    axes.set_xlabel("Coverage, most confident first, %", color=INK)
    axes.set_ylabel("Error rate, %", color=INK)
    axes.set(xlim=(0, 102), ylim=(0, None))
    save_figure(figure, path)


def plot_errors(
    path: Path, ages: NDArray[np.floating], error: NDArray[np.floating], title: str
) -> None:
    """Draw the error in years over age, its mean and interquartile range per five years, as PNG.

    ages, error: (N,) in years. Raises OSError if the file cannot be written.
    """
    figure, axes = new_figure(8, 4.2, f"{title}: error over age")
    place = ages // _YEARS
    bins = np.unique(place)
    middle = [bin * _YEARS + _YEARS / 2 for bin in bins]
    quarters = np.array([np.quantile(error[place == bin], (0.25, 0.75)) for bin in bins])
    axes.axhline(0, color=GREY, linewidth=1)
    axes.vlines(middle, *quarters.T, color="#90b4de", linewidth=7, label="interquartile range")
    means = [error[place == bin].mean() for bin in bins]
    axes.plot(middle, means, "o-", color=BLUE, markersize=4, label="mean")
    axes.set_xlabel("Age in years", color=INK)
    axes.set_ylabel("Predicted too old (+) or young (−), years", color=INK)
    axes.legend(frameon=False, labelcolor=INK)
    save_figure(figure, path)


def plot_robustness(path: Path, results: dict[str, Robustness]) -> None:
    """Draw models' exact accuracies over the strength of each perturbation, as PNG.

    A dotted line is the clean images' accuracy; dashed lines are those of aligned faces. Raises
    OSError if the file cannot be written.
    """
    lines, columns = -(-len(PERTURBATIONS) // 3), 3
    count = next(iter(results.values())).n
    title = f"Exact accuracy on {count:,} perturbed images (dotted: clean)"
    figure, panels = new_figures(11, 2.7 * lines + 0.8, title, lines, columns)
    for axes, perturbation in zip(panels.flat, PERTURBATIONS, strict=True):
        axes.margins(x=0.08)
        axes.set_title(perturbation.name, fontsize=10, color=INK, loc="left")
        for (model, result), colour in zip(results.items(), cycle(_COLOURS)):
            for scores in result.ways():
                _plot_strengths(axes, perturbation, scores, model, colour)
            clean = 100 * result.scores[0].exact
            axes.axhline(clean, color=colour, linewidth=0.8, linestyle=":")
    for axes in panels[:, 0]:
        axes.set_ylabel("Exact, %", color=INK)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path)


def _plot_strengths(
    axes: Axes, perturbation: Perturbation, scores: list[Score], model: str, colour: str
) -> None:
    """Draw the accuracy over one perturbation's strengths, with the clean images on the scale."""
    own = [score for score in scores if score.perturbation == perturbation.name]
    ticks, figures = list(perturbation.strengths), [100 * score.exact for score in own]
    if perturbation.clean is not None:
        ticks.insert(perturbation.clean, CLEAN)
        figures.insert(perturbation.clean, 100 * scores[0].exact)
    aligned = own[0].aligned
    axes.plot(
        figures, color=colour, marker="s" if aligned else "o", markersize=4,
        linestyle=" " if perturbation.clean is None else "--" if aligned else "-",
        label=f"{model}, aligned" if aligned else model,
    )  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)


def _percent(share: float) -> str:
    return "" if share == 0 else "<1" if share < 0.5 else f"{share:.0f}"


def _draw(axes: Axes, shares: np.ndarray, texts: list[list[str]], labels: Sequence[str]) -> None:
    from matplotlib import colormaps

    colours = colormaps["Blues"](shares / 100)  # (groups, groups, RGBA)
    axes.imshow(colours)
    luminance = colours[..., :3] @ (0.299, 0.587, 0.114)
    for (row, column), light in np.ndenumerate(luminance):
        ink = INK if light > 0.55 else "white"
        weight = "bold" if row == column else "normal"
        axes.text(
            column, row, texts[row][column],
            ha="center", va="center", color=ink, fontsize=9, fontweight=weight,
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("Predicted age group", color=INK)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, colors=INK, labelleft=True)
    for spine in axes.spines.values():
        spine.set_visible(False)
