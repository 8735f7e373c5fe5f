"""Tables of age sets, and of the gain from abstaining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agecli.evaluation.coverage import Part
from agecli.evaluation.report.grid import Grid, Worst
from agecli.evaluation.report.tables import share, span
from agecli.evaluation.robustness import WAYS, Robustness
from agecli.evaluation.scoring import Evaluation
from agecli.sets import COVERAGE


def sets_grids(rows: list[Evaluation]) -> list[Grid]:
    """Return tables of the gain from abstaining and, if there are any, of the models' age sets."""
    grids = [sets_grid(rows), coverage_grid(rows)] if any(row.coverages for row in rows) else []
    return [risk_grid(rows), *grids]


def risk_grid(rows: list[Evaluation]) -> Grid:
    """Return a table of the gain from abstaining where a model is uncertain."""
    grid = Grid(["model", "AURC", "exact", "exact on the surest half"], "Abstaining")
    for row in rows:
        half = share(row.risk["exact_half"])
        grid.add(row.name, f"{row.risk['aurc']:.3f}", share(row.scores.exact), half)
    return grid


def sets_grid(rows: list[Evaluation]) -> Grid:
    """Return a table of the models' sets, a row for each coverage."""
    head = ["model", "promise", "groups", "95 %", "size", "years", "size"]
    grid = Grid(head, "Age sets: how often they contain the true group and year")
    for row in rows:
        for one in row.coverages:
            width = "" if one.width is None else f"{one.width:.1f} y"
            grid.add(
                row.name, f"{one.wanted:.0%}", share(one.whole.coverage), span(one.whole.interval),
                f"{one.whole.size:.2f}", "" if width == "" else share(one.years), width,
            )  # fmt: skip
        if not row.coverages:
            grid.add(row.name, "no sets", *[""] * 5)
    return grid


def coverage_grid(rows: list[Evaluation]) -> Grid:
    """Return a table of the coverage of the true group in each slice, and the sets' mean size."""
    title = f"Coverage of the {COVERAGE:.0%} sets by slice (groups in a set)"
    grid = Grid(["slice", "images"], title)
    columns: list[dict[tuple[str, str], Part]] = []
    worst: list[Part | None] = []
    for row in rows:
        for one in row.coverages:
            if one.wanted == COVERAGE:
                grid.head.append(row.name)
                columns.append({(part.by, part.value): part for part in one.parts})
                worst.append(one.worst)
    for key in dict.fromkeys(key for column in columns for key in column):
        own = [column.get(key) for column in columns]
        cells = (_cell(part, part == low) for part, low in zip(own, worst, strict=True))
        count = next(part.n for part in own if part)
        grid.add(": ".join(key), f"{count:,}", *cells)
    return grid


def robust_coverage_grids(results: Mapping[str, Robustness]) -> Iterator[Grid]:
    """Return a table of the coverage of the models' sets in each condition, if any has sets.

    The last row has the means over all perturbations, without the clean images.
    """
    columns: dict[str, list[float | None]] = {}
    for name, result in results.items():
        for scores in result.ways():
            figure = f"{WAYS[scores[0].aligned]}_coverage{100 * COVERAGE:g}"
            if mean := result.figures().get(figure):
                head = f"{name}, aligned" if scores[0].aligned else name
                columns[head] = [*(score.coverage for score in scores), mean]
    if columns:
        n = next(iter(results.values())).n
        title = f"Coverage of the {COVERAGE:.0%} sets on {n:,} perturbed images"
        grid = Grid(["", *columns], title)
        rows = [*(score.condition for score in scores), "mean of perturbed"]
        for condition, *cells in zip(rows, *columns.values(), strict=True):
            grid.add(condition, *map(share, cells))
        yield grid


def describe_worst(rows: list[Evaluation]) -> str:
    """Return the slice with the lowest coverage of each model in words."""
    worst = [
        f"{row.name} in {low.by} {low.value} ({low.coverage:.1%}, 95 %: {span(low.interval)})"
        for row in rows
        for one in row.coverages
        if one.wanted == COVERAGE and (low := one.worst)
    ]
    return f"Least covered: {'; '.join(worst)}. " if worst else ""


def _cell(part: Part | None, worst: bool) -> str:
    if part is None:
        return ""
    text = f"{part.coverage:.1%} ({part.size:.2f})"
    return Worst(text) if worst else text
