"""Figures as files; matplotlib is imported when one is drawn, and never its global state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agecli.evaluation.metrics import calibration_bins, calibration_error
from agecli.evaluation.perturbations import PERTURBATIONS
from agecli.evaluation.robustness import CLEAN, Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _BLUE = "#1f2933", "#2b6cb0"
_COLOURS = (_BLUE, "#c05621", "#2f855a", "#6b46c1", "#4a5568")
"""Of models, in turn."""
_YEARS = 5
"""Years that an error is averaged over."""
_CELL_INCHES = 0.62


def plot_confusion(path: Path, confusion: ArrayLike, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix as PNG: counts, and beside them shares of each row in percent.

    confusion: (groups, groups), true groups in rows, answered groups in columns, young to old.
    Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    counts = np.asarray(confusion)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = _CELL_INCHES * max(len(labels), 5) + 1.2
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, wspace=0.06)
    figure = Figure(figsize=(2 * side, side + 0.5), dpi=150, facecolor="white", layout=layout)
    left, right = figure.subplots(1, 2)
    # Colours follow the shares on both sides: one large group would leave the others pale.
    _draw(left, shares, [[f"{n:,}" if n else "" for n in row] for row in counts], labels)
    _draw(right, shares, [[_percent(share) for share in row] for row in shares], labels)
    left.set_title("Images", fontsize=11, color=_INK, loc="left")
    right.set_title("Percent of each true group", fontsize=11, color=_INK, loc="left")
    left.set_ylabel("True age group", color=_INK)
    figure.suptitle(title, fontsize=13, fontweight="bold", color=_INK)
    figure.savefig(path, format="png")


def plot_rates(path: Path, rates: ArrayLike, losses: ArrayLike, chosen: float) -> None:
    """Draw the losses of a learning-rate search as PNG, and the rate that was chosen.

    rates, losses: (steps,), as the search went. Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    losses = np.asarray(losses)
    figure = Figure(figsize=(7, 4.2), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.plot(np.asarray(rates), losses, color="#2b6cb0", linewidth=2)
    axes.axvline(chosen, color="#c05621", linewidth=1.5, linestyle="--")
    axes.annotate(
        f"chosen: {chosen:.1e}", (chosen, 1), xycoords=("data", "axes fraction"),
        xytext=(6, -14), textcoords="offset points", color="#c05621",
    )  # fmt: skip
    # Where the search ends the loss explodes: what matters is how it fell before.
    start, low = float(np.max(losses[:10])), float(np.min(losses))
    axes.set_ylim(low - 0.1 * (start - low), start + 0.5 * (start - low) + 1e-6)
    axes.set_xscale("log")
    axes.set_xlabel("Learning rate", color=_INK)
    axes.set_ylabel("Training loss, smoothed", color=_INK)
    _finish(figure, axes, "Learning-rate search (fastai's lr_find, valley)", path)


def plot_reliability(
    path: Path, probabilities: NDArray[np.floating], truth: NDArray[np.integer], title: str
) -> None:
    """Draw how often answers are right against how sure the model was of them, as PNG.

    probabilities: (N, groups); truth: (N,) groups. Raises OSError where it cannot be written.
    """
    from matplotlib.figure import Figure

    images, confidence, accuracy = calibration_bins(probabilities, truth)
    error = calibration_error(probabilities, truth)
    figure = Figure(figsize=(6, 4.6), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    full = images > 0
    axes.plot([0, 1], [0, 1], color="#9fb3c8", linewidth=1, linestyle="--", label="ideal")
    axes.scatter(
        confidence[full], accuracy[full], s=12 + 300 * images[full] / images.sum(), color=_BLUE,
        label="images, by area", zorder=2,
    )  # fmt: skip
    axes.set_xlabel("Probability of the answer", color=_INK)
    axes.set_ylabel("Share that is right", color=_INK)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False, labelcolor=_INK, loc="upper left", markerscale=0.6)
    _finish(figure, axes, f"{title}: calibration error {error:.1%}", path)


def plot_errors(
    path: Path, ages: NDArray[np.integer], answered: NDArray[np.floating], title: str
) -> None:
    """Draw the error in years over the age, its mean and middle half per five years, as PNG.

    ages, answered: (N,) in years. Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    error, place = answered - ages, ages // _YEARS
    bins = np.unique(place)
    middle = [bin * _YEARS + _YEARS / 2 for bin in bins]
    quarters = np.array([np.quantile(error[place == bin], (0.25, 0.75)) for bin in bins])
    axes.axhline(0, color="#9fb3c8", linewidth=1)
    axes.vlines(middle, quarters[:, 0], quarters[:, 1], color="#90b4de", linewidth=7,
                label="middle half")  # fmt: skip
    axes.plot(middle, [error[place == bin].mean() for bin in bins], "o-", color=_BLUE,
              markersize=4, label="mean")  # fmt: skip
    axes.set_xlabel("Age in years", color=_INK)
    axes.set_ylabel("Answered too old (+) or young (−), years", color=_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    _finish(figure, axes, f"{title}: error over age", path)


def plot_robustness(path: Path, results: dict[str, Robustness]) -> None:
    """Draw models' exact accuracies over each perturbation's strength, as PNG.

    A dotted line is the clean images' accuracy; dashed lines are those of aligned faces. Raises
    OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    columns = 3
    lines = -(-len(PERTURBATIONS) // columns)
    figure = Figure(
        figsize=(11, 2.7 * lines + 0.8), dpi=150, facecolor="white", layout="constrained"
    )
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes, perturbation in zip(panels.flat, PERTURBATIONS, strict=True):
        ticks = list(perturbation.strengths)
        if perturbation.clean is not None:
            ticks.insert(perturbation.clean, CLEAN)
        for (name, result), colour in zip(results.items(), cycle(_COLOURS)):
            for scores in result.ways():
                own = [s for s in scores if s.perturbation == perturbation.name]
                figures = [100 * score.exact for score in own]
                if perturbation.clean is not None:
                    figures.insert(perturbation.clean, 100 * scores[0].exact)
                aligned = own[0].aligned
                axes.plot(
                    figures, color=colour, marker="s" if aligned else "o", markersize=4,
                    linestyle=" " if perturbation.clean is None else "--" if aligned else "-",
                    label=f"{name}, aligned" if aligned else name,
                )  # fmt: skip
            clean = 100 * result.scores[0].exact
            axes.axhline(clean, color=colour, linewidth=0.8, linestyle=":")
        axes.set_xticks(range(len(ticks)), ticks)
        axes.margins(x=0.08)
        axes.tick_params(colors=_INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(perturbation.name, fontsize=10, color=_INK, loc="left")
    for axes in panels[:, 0]:
        axes.set_ylabel("Exact, %", color=_INK)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    count = next(iter(results.values())).n
    title = f"Exact accuracy on {count:,} perturbed images (dotted: clean)"
    figure.suptitle(title, fontweight="bold", color=_INK)
    figure.savefig(path, format="png")


def _finish(figure: Figure, axes: Axes, title: str, path: Path) -> None:
    axes.tick_params(colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontweight="bold", color=_INK, loc="left")
    figure.savefig(path, format="png")


def _percent(share: float) -> str:
    return "" if share == 0 else "<1" if share < 0.5 else f"{share:.0f}"


def _draw(axes: Axes, shares: np.ndarray, texts: list[list[str]], labels: Sequence[str]) -> None:
    from matplotlib import colormaps

    colours = colormaps["Blues"](shares / 100)  # (groups, groups, RGBA)
    axes.imshow(colours)
    luminance = colours[..., :3] @ (0.299, 0.587, 0.114)
    for (row, column), light in np.ndenumerate(luminance):
        ink = _INK if light > 0.55 else "white"
        weight = "bold" if row == column else "normal"
        axes.text(
            column, row, texts[row][column],
            ha="center", va="center", color=ink, fontsize=9, fontweight=weight,
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("Answered age group", color=_INK)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, colors=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
