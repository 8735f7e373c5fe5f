"""A comparison as a page: one self-contained HTML file, the same as Markdown, and its PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agecli.ages import NO_GROUP
from agecli.evaluation.photographs import Photographs, describe_finds, photographs_table
from agecli.evaluation.report.plots import (
    plot_confusion,
    plot_errors,
    plot_reliability,
    plot_robustness,
)
from agecli.evaluation.report.render import (
    WORST,
    Bars,
    Faces,
    Grid,
    Part,
    Plots,
    Section,
    to_html,
    to_markdown,
)
from agecli.evaluation.robustness import Robustness, robustness_table
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.suite import ENSEMBLE, verdict
from agecli.files import write_text

MISTAKES = 12
"""Most confident wrong answers that are listed per model."""


def write_page(
    folder: Path, title: str, rows: list[dict[str, Any]], pairs: list[dict[str, Any]],
    results: dict[str, Evaluation], ids: np.ndarray,
    faces: np.ndarray | None, extra: Sequence[Section] = (),
) -> list[Path]:  # fmt: skip
    """Write index.html, report.md and PNGs into a folder; give the files.

    ids: (N,) names of the images; faces: the data set's images (rows, S, S, 3), or None: no faces.
    extra: sections to stand before those of the models, their pictures in the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = rows[0]
    bars = [(_name(row), row["exact"], row["bootstrap"]["exact"]) for row in rows]
    note = (
        "With the 95 % interval, by the bootstrap; dashed: always answering "
        f"{first['majority_group']}, the group with most images ({first['majority']:.1%})."
    )
    sections: list[Section] = [
        ("Exact accuracy", [Bars(bars, first["majority"]), note]),
        ("Models", [_right(rows), _rest(rows), _about(rows)]),
    ]
    if pairs:
        note = (
            "Exact accuracy of the first less that of the second, on the same images: interval by "
            "the bootstrap, p by McNemar's exact test."
        )
        sections.append(("Differences", [_pairs(pairs), note]))
    note = "Exact accuracy and its 95 % interval (Wilson). What else is known stands below."
    sections.append(("Slices", [_slices(rows), note]))
    sections += extra
    for row in rows:
        sections.append((row["name"], _one(folder, row, results[row["name"]], ids, faces)))
    page, text, lead = folder / "index.html", folder / "report.md", _lead(rows)
    write_text(page, to_html(title, lead, sections))
    write_text(text, to_markdown(title, lead, sections))
    return [page, text, *sorted(folder.glob("*.png"))]


def robustness_section(folder: Path, results: dict[str, Robustness]) -> Section:
    """Lay out what disturbed pictures cost, and draw it into the page's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "robustness.png"
    plot_robustness(picture, results)
    note = (
        f"Exact accuracy on the same {next(iter(results.values())).n:,} images in every row, the "
        "points lost to the clean images, and half of their 95 % interval (bootstrap)."
    )
    return "Robustness", [Plots([picture]), Grid(*robustness_table(results)), note]


def photographs_section(result: Photographs, names: list[str]) -> Section:
    """Lay out what becomes of faces in larger pictures."""
    note = f"Test faces pasted into larger pictures: {describe_finds(result)}."
    return "Photographs", [Grid(*photographs_table(result, names)), note]


def _name(row: dict[str, Any]) -> str:
    return row["name"] + ("" if row["same_split"] else " (*)")


def _lead(rows: list[dict[str, Any]]) -> str:
    """Say what was measured, what is best, and where it is worst."""
    best = rows[_best(rows)]
    low, high = best["bootstrap"]["exact"]
    text = (
        f"{best['name']} tells the age group of {best['exact']:.1%} of {best['n']:,} images of the "
        f"{best['split']} split exactly (95 %: {100 * low:.1f} – {100 * high:.1f}), and of "
        f"{best['one_off']:.1%} to the neighbouring group."
    )
    if worst := best["worst_slice"]:
        text += f" Its worst slice is {worst['by']} {worst['value']}, with {worst['exact']:.1%}."
    return text


def _best(rows: list[dict[str, Any]]) -> int:
    return max(range(len(rows)), key=lambda number: rows[number]["exact"])


def _one(
    folder: Path, row: dict[str, Any], result: Evaluation, ids: np.ndarray, faces: np.ndarray | None
) -> list[Part]:
    name, labels = row["name"], result.scheme.labels
    paths = [folder / f"{name}-{kind}.png" for kind in ("confusion", "reliability", "errors")]
    plot_confusion(paths[0], row["confusion"], labels, f"{name}: {row['exact']:.1%} exact")
    truth = result.scheme.groups_of(result.ages)
    known = truth != NO_GROUP
    plot_reliability(paths[1], result.probabilities[known], truth[known], name)
    plots = Plots(paths[:2])
    if result.answered is not None:
        plot_errors(paths[2], result.ages, result.answered, name)
        plots.append(paths[2])
    note = "Bias: how many groups too old (+) or too young (-) the answers are on average."
    return [plots, _own_slices(row), *_mistakes(result, truth, known, ids, faces), note]


def _mistakes(
    result: Evaluation, truth: Any, known: Any, ids: np.ndarray, faces: np.ndarray | None
) -> list[Part]:
    """List the wrong answers that the model was surest of."""
    answers, chances = result.probabilities.argmax(axis=1), result.probabilities.max(axis=1)
    wrong = np.flatnonzero(known & (answers != truth))
    worst = wrong[np.argsort(-chances[wrong])][:MISTAKES]
    labels = result.scheme.labels
    grid = Grid(["most confident mistakes", "age", "group", "answered", "probability"])
    shown = Faces()
    for place in worst:
        said = labels[answers[place]]
        grid.append([str(ids[place]), str(result.ages[place]), labels[truth[place]], said,
                     f"{chances[place]:.1%}"])  # fmt: skip
        if faces is not None:
            shown.append((faces[result.rows[place]], f"{labels[truth[place]]}, answered {said}"))
    return [grid, *([shown] if shown else [])]


def _right(rows: list[dict[str, Any]]) -> Grid:
    head = ["model", "exact", "95 %", "1-off", "95 %", "macro-F1", "kappa", "nearest"]
    grid = Grid(head, best=1 + _best(rows))
    for row in rows:
        exact, one_off = (_span(row["bootstrap"][name]) for name in ("exact", "one_off"))
        grid.append([_name(row), f"{row['exact']:.1%}", exact, f"{row['one_off']:.1%}", one_off,
                     f"{row['macro_f1']:.1%}", f"{row['kappa']:.3f}",
                     f"{row['nearest']:.1%}"])  # fmt: skip
    first = rows[0]
    blank = [""] * (len(head) - 2)
    grid.append([f"always {first['majority_group']}", f"{first['majority']:.1%}", *blank])
    return grid


def _rest(rows: list[dict[str, Any]]) -> Grid:
    grid = Grid(["model", "MAE", "CS@5", "ECE at T=1", "ECE", "images/s", "size"])
    for row in rows:
        years = [f"{row['mae']:.2f} y", f"{row['cs5']:.1%}"] if "mae" in row else ["–", "–"]
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else "–"
        grid.append([_name(row), *years, f"{row['ece_raw']:.1%}", f"{row['ece']:.1%}",
                     f"{row['images_per_second']:,.0f}", size])  # fmt: skip
    return grid


def _about(rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    ages = max((row.get("n_ages", 0) for row in rows), default=0)
    text = f"{first['n']:,} images of the {first['split']} split of {Path(first['data']).name} "
    text += "have an age group"
    if ages:
        text += f", and {ages:,} an age: errors in years are over these"
    text += (
        ". Kappa is quadratic. Nearest: all images, an age counted to its nearest group. CS@5: "
        "ages at most 5 years off. ECE: calibration error with 15 bins, without and with the "
        "temperature in the file."
    )
    if any(row["name"] == ENSEMBLE for row in rows):
        text += " The ensemble is the mean of the models' probabilities."
    if not all(row["same_split"] for row in rows):
        text += " (*): trained on another split, may have seen these images."
    return text


def _pairs(pairs: list[dict[str, Any]]) -> Grid:
    grid = Grid(["pair", "points", "95 %", "p", "verdict"])
    for pair in pairs:
        low, high = pair["interval"]
        grid.append([f"{pair['first']} – {pair['second']}", f"{100 * pair['difference']:+.1f}",
                     f"{100 * low:+.1f} to {100 * high:+.1f}", f"{pair['p']:.2g}",
                     verdict(pair)])  # fmt: skip
    return grid


def _slices(rows: list[dict[str, Any]]) -> Grid:
    """Lay out the slices: per model exact accuracy and its 95 % interval."""
    grid = Grid(["slice", "images", *(row["name"] for row in rows)])
    places = {(part["by"], part["value"]): part["n"] for row in rows for part in row["slices"]}
    for (by, value), count in places.items():
        cells = []
        for row in rows:
            own = next((s for s in row["slices"] if (s["by"], s["value"]) == (by, value)), None)
            cells.append(_figures(own, worst=own == row["worst_slice"]))
        grid.append([f"{by}: {value}", f"{count:,}", *cells])
    return grid


def _figures(part: dict[str, Any] | None, *, worst: bool) -> str:
    if part is None:
        return ""
    if part["exact"] is None:
        return "too few"
    low, high = part["interval"]
    return f"{WORST * worst}{part['exact']:.1%} ({100 * low:.0f} – {100 * high:.0f})"


def _own_slices(row: dict[str, Any]) -> Grid:
    """Lay out all figures of a model's slices."""
    grid = Grid(["slice", "images", "exact", "95 %", "1-off", "bias"])
    for part in row["slices"]:
        cells = ["too few", "", "", ""]
        if part["exact"] is not None:
            mark = WORST * (part == row["worst_slice"])
            cells = [f"{mark}{part['exact']:.1%}", _span(part["interval"]),
                     f"{part['one_off']:.1%}", f"{part['bias']:+.2f}"]  # fmt: skip
        grid.append([f"{part['by']}: {part['value']}", f"{part['n']:,}", *cells])
    return grid


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f}"
