"""An evaluation as a page: one self-contained HTML file, the same as Markdown, and its PNGs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from agecli.ages import NO_GROUP, Age, years_of
from agecli.data.store import Dataset, name_split
from agecli.evaluation.outoffold import OutOfFold
from agecli.evaluation.report import sets, tables
from agecli.evaluation.report.grid import Grid
from agecli.evaluation.report.plots import (
    plot_confusion,
    plot_errors,
    plot_reliability,
    plot_risk,
    plot_robustness,
)
from agecli.evaluation.report.render import Bars, Faces, Page, Part, Plots, Section
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.suite import Suite
from agecli.files import write_text

MISTAKES = 12
"""Number of most confident errors listed per model."""
_ACROSS = (
    "Each model on each data set, the best of each bold. Data sets differ in difficulty: "
    "compare rows of the same data set, the last of which always predicts one group."
)

_LIMITS = (
    "An age set contains the true group, or year, as often as promised, on images like those of "
    "validation. AURC: the error rate of the most confident predictions, averaged over how many "
    "are given; sure half: exact accuracy on the most confident half."
)
_DOUBTFUL = (
    "Each image is predicted by the model of its fold, which has not seen it, as the "
    "likeliest group. p(label): the probability of the label's group, or of the groups that it "
    "touches; for a gap age, of those on both sides."
)


def page_files(folder: Path, models: Sequence[str], data: Sequence[str]) -> list[Path]:
    """List the files that `write_page` may write, given the names of models and data sets."""
    kinds = ("confusion", "reliability", "risk", "errors")
    plots = ["robustness.png", *(f"{name}-{kind}.png" for name in models for kind in kinds)]
    drawn = [place / plot for place in plot_folders(folder, data).values() for plot in plots]
    return [folder / "index.html", folder / "report.md", *drawn]


def plot_folders(folder: Path, data: Collection[str]) -> dict[str, Path]:
    """Return the folder of each data set's plots: with several data sets, one each."""
    return {name: folder / name if len(data) > 1 else folder for name in data}


def write_page(
    folder: Path, suites: Mapping[str, Suite], *, show_faces: bool = False,
    answers: OutOfFold | None = None,
) -> list[Path]:  # fmt: skip
    """Write index.html, report.md and PNGs into a folder; return the files.

    suites: by the names of their data sets. show_faces: show the images of the worst errors.
    answers: out-of-fold predictions, for the doubtful labels.
    """
    names = next(iter(suites.values())).names
    title = f"{', '.join(names)} on {', '.join(suites)}"
    sections: list[Section] = []
    if len(suites) > 1:
        sections.append(("Data sets", [tables.across_grid(suites), _ACROSS]))
    for name, place in plot_folders(folder, suites).items():
        place.mkdir(parents=True, exist_ok=True)
        where = f" on {name}" * (len(suites) > 1)
        for heading, parts in _sections(place, suites[name], show_faces):
            sections.append((heading + where, parts))
    if answers:
        sections.append(("Doubtful labels", [tables.doubtful_grid(answers), _DOUBTFUL]))
    report = Page("evaluate", title, _leads(suites), sections)
    page, text = folder / "index.html", folder / "report.md"
    write_text(page, report.html())
    write_text(text, report.markdown(folder))
    parts = [part for _, parts in sections for part in parts]
    return [page, text, *(path for part in parts if isinstance(part, Plots) for path in part.paths)]


def _sections(folder: Path, suite: Suite, show_faces: bool) -> Iterator[Section]:
    """Yield the sections of all that was measured on a data set."""
    yield from _overview(suite)
    yield from _extras(folder, suite)
    for row in suite.rows:
        yield row.name, _model(folder, row, suite.dataset, show_faces)


def _leads(suites: Mapping[str, Suite]) -> str:
    """Return the summary of each data set."""
    first, *others = suites.values()
    if first.caution or not others:
        return _lead(first)
    return " ".join(f"On {name}, {_lead(suite)}" for name, suite in suites.items())


def _lead(suite: Suite) -> str:
    """Return a summary: the measurement, the best model, and its worst slice."""
    if suite.caution:
        return suite.caution
    best = max(suite.rows, key=lambda row: row.scores.exact)
    scores = best.scores
    text = (
        f"{best.name} predicts the age group of {scores.exact:.1%} of {scores.n:,} images of "
        f"{name_split(best.split)} exactly (95 %: {tables.span(best.intervals['exact'])}), and of "
        f"{scores.one_off:.1%} to the neighbouring group."
    )
    if worst := best.worst_slice:
        text += f" Its worst slice is {worst.by} {worst.value}, with {worst.exact:.1%}."
    return text


def _overview(suite: Suite) -> Iterator[Section]:
    """Yield the sections that compare the models."""
    first = suite.rows[0].scores
    bars = [
        (row.name + " (*)" * row.may_have_seen, row.scores.exact, row.intervals["exact"])
        for row in suite.rows
    ]
    note = (
        "With the 95 % interval, by the bootstrap; dashed: always predicting "
        f"{first.majority_group}, the group with most images ({first.majority:.1%})."
        + f" {suite.caution}"
        * bool(suite.caution)
    )
    yield "Exact accuracy", [Bars(bars, first.majority), note]
    yield "Models", [*tables.model_grids(suite.rows), _about(suite)]
    if suite.folds:
        yield "Folds", [tables.folds_grid(suite.folds)]
    if suite.pairs:
        note = (
            "The first's figure less the second's, on the same images: interval by the bootstrap, "
            "p by McNemar's exact test (of years, by which of the two is nearer)."
        )
        yield "Differences", [*tables.pairs_grids(suite.pairs), note]
    note = "Exact accuracy and its 95 % interval (Wilson). More details follow below."
    yield "Limits", [*sets.sets_grids(suite.rows), sets.describe_worst(suite.rows) + _LIMITS]
    yield "Slices", [tables.slices_grid(suite.rows, wide=True), note]


def _about(suite: Suite) -> str:
    first, rows = suite.rows[0], suite.rows
    ages = max(row.scores.n_ages or 0 for row in rows)
    text = (
        f"{first.scores.n:,} images of {name_split(first.split)} of {first.data.name} have an "
        "age group"
    )
    if ages:
        text += f", and {ages:,} an age, over which errors in years are computed"
    text += (
        ". Kappa is quadratic. Nearest: all images of a known year, each assigned to its nearest "
        "group. CS@5: ages at most 5 years off. ECE: calibration error with 15 bins, without and "
        f"with the temperature in the file. {tables.describe_decisions(rows)}"
    )
    if suite.ensemble:
        text += f" The ensemble: {suite.found.fitted or 'the mean of the probabilities'}."
    if note := suite.left_out_note:
        text += f" {note}"
    if any(row.may_have_seen for row in rows):
        text += " (*): trained on another split, may have seen these images."
    return text


def _extras(folder: Path, suite: Suite) -> Iterator[Section]:
    """Yield the sections on perturbed images and photographs."""
    if suite.robustness:
        picture = folder / "robustness.png"
        plot_robustness(picture, suite.robustness)
        note = (
            f"Exact accuracy on the same {next(iter(suite.robustness.values())).n:,} images in "
            "every row, the points lost to the clean images, and half of their 95 % interval "
            "(bootstrap)."
        )
        grid = tables.robustness_grid(suite.robustness)
        covered = sets.robust_coverage_grids(suite.robustness)
        yield "Robustness", [Plots([picture]), grid, note, *covered]
    if suite.photographs:
        finds = tables.describe_finds(suite.photographs)
        grids = tables.photographs_grids(suite.photographs, suite.names)
        note = f"Test faces pasted into larger pictures: {finds}."
        yield "Photographs", [*grids, note]


def _model(folder: Path, row: Evaluation, dataset: Dataset, show_faces: bool) -> list[Part]:
    """Return one model's section: plots, slices, and its most confident errors."""
    name, labels, known = row.name, row.scheme.labels, row.truth != NO_GROUP
    paths = [folder / f"{name}-{kind}.png" for kind in ("confusion", "reliability", "risk")]
    title = f"{name}: {row.scores.exact:.1%} exact"
    plot_confusion(paths[0], row.scores.confusion, labels, title)
    plot_reliability(paths[1], row.probabilities[known], row.truth[known], name)
    plot_risk(paths[2], -row.entropy[known], (row.answers == row.truth)[known], name)
    years = np.isfinite(row.errors)
    if years.any():
        paths.append(folder / f"{name}-errors.png")
        plot_errors(paths[3], years_of(row.ages)[years], row.errors[years], name)
    wrong = np.flatnonzero(known & (row.answers != row.truth))
    mistakes = Grid(["most confident errors", "age", "group", "predicted", "probability"])
    faces = Faces()
    for place in wrong[np.argsort(-row.sure[wrong])][:MISTAKES]:
        group, said, image = labels[row.truth[place]], labels[row.answers[place]], row.rows[place]
        chance = tables.share(row.sure[place])
        mistakes.add(str(dataset.ids[image]), str(Age(*row.ages[place])), group, said, chance)
        faces.pictures.append((dataset.images[image], f"{group}, predicted {said}"))
    note = "Bias: how many groups too old (+) or too young (-) the predictions are on average."
    slices = tables.slice_grid(row.slices, row.worst_slice)
    return [Plots(paths), slices, mistakes, *([faces] if show_faces else []), note]
