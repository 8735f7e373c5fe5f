"""Tables of every figure of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agecli.evaluation.folds import Folds, Spread
from agecli.evaluation.metrics import Scores
from agecli.evaluation.outoffold import OutOfFold
from agecli.evaluation.photographs import Photographs
from agecli.evaluation.report.grid import Grid, Worst
from agecli.evaluation.robustness import Robustness, Score
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.significance import Difference, Slice
from agecli.evaluation.suite import Suite
from agecli.sets import COVERAGE

FEW = 4
"""Most models whose biases fit beside their accuracies in a terminal."""
NONE = "–"
FOLDS = "Mean ± standard deviation (n - 1) over folds, each model on its own fold"
BIAS = "bias in groups: + is too old"


def share(value: float | None) -> str:
    """Format a share in percent."""
    return NONE if value is None else f"{value:.1%}"


def span(interval: Iterable[float] | None, digits: int = 1) -> str:
    """Format the ends of an interval in percent, without the sign."""
    return NONE if interval is None else " – ".join(f"{100 * end:.{digits}f}" for end in interval)


def count(value: int | None) -> str:
    """Format a number of images."""
    return NONE if value is None else f"{value:,}"


def years(value: float | None, unit: str = "years") -> str:
    """Format an error in years."""
    return NONE if value is None else f"{value:.2f} {unit}"


def megabytes(count: int | None) -> str:
    """Format the size of a file."""
    return NONE if count is None else f"{count / 1e6:.1f} MB"


def scores_grid(scores: Scores, title: str = "") -> Grid:
    """Return a table of the figures over all groups, with the majority baseline."""
    grid = Grid(["", "images", "", "95 %"], title)
    exact, interval = share(scores.exact), span(scores.exact_interval)
    grid.add("exact group", f"{scores.n:,}", exact, interval, style="best")
    majority = f"always {scores.majority_group} (majority baseline)"
    grid.add(majority, "", share(scores.majority), "", style="base")
    grid.add("exact or neighbouring group (1-off)", "", share(scores.one_off), "")
    grid.add("macro-F1", "", share(scores.macro_f1), "")
    if scores.mae is not None:
        grid.add("mean error of age (MAE)", count(scores.n_ages), years(scores.mae), "")
        grid.add("age within 5 years (CS@5)", "", share(scores.cs5), "")
    if scores.ece is not None:
        grid.add("calibration error (ECE)", "", share(scores.ece), "")
    return grid


def groups_grid(scores: Scores) -> Grid:
    """Return a table of precision, recall and F1 of each group."""
    grid = Grid(["group", "images", "precision", "recall", "F1"], "Per group")
    for label, group in scores.per_group.items():
        figures = map(share, (group.precision, group.recall, group.f1))
        grid.add(label, f"{group.n:,}", *figures)
    return grid


def model_grids(rows: list[Evaluation], title: str = "") -> list[Grid]:
    """Return tables of the models, a row each: accuracy; then ages, calibration and cost."""
    right = Grid(["model", "exact", "95 %", "1-off", "95 %", "macro-F1", "kappa"], title)
    rest = Grid(["model", "MAE", "CS@5", "nearest", "ECE T=1", "ECE", "images/s", "size"])
    alike = len({row.scheme for row in rows}) == 1
    best = max(rows, key=lambda row: row.scores.exact) if alike else None
    for row in rows:
        scores, name = row.scores, row.name + " (*)" * row.may_have_seen
        exact, one_off = (span(row.intervals[key]) for key in ("exact", "one_off"))
        right.add(
            name, share(scores.exact), exact, share(scores.one_off), one_off,
            share(scores.macro_f1), f"{scores.kappa:.3f}", style="best" if row is best else "",
        )  # fmt: skip
        rest.add(
            name, years(scores.mae, "y"), share(scores.cs5), share(scores.nearest),
            share(row.ece_raw), share(scores.ece), f"{row.images_per_second:,.0f}",
            megabytes(row.bytes),
        )  # fmt: skip
    first = rows[0].scores
    blank = [""] * (len(right.head) - 2)
    if alike:
        right.add(f"always {first.majority_group}", share(first.majority), *blank, style="base")
    return [right, rest]


def describe_decisions(rows: list[Evaluation]) -> str:
    """Return the decision rules of the models in words."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(str(row.decision), []).append(row.name)
    parts = (f"{rule} ({', '.join(models)})" for rule, models in names.items())
    return f"Predicted groups: {'; '.join(parts)}."


def folds_grid(folds: list[Folds]) -> Grid:
    """Return a table of means and standard deviations over folds, a row per model."""
    grid = Grid(["model", "folds", "exact", "1-off", "macro-F1", "MAE"], FOLDS)
    for one in folds:
        shares = (
            _spread(one.figures.get(name), 100, 1) for name in ("exact", "one_off", "macro_f1")
        )
        numbers = ", ".join(map(str, one.folds))
        grid.add(one.model, numbers, *shares, _spread(one.figures.get("mae"), 1, 2))
    return grid


def _spread(spread: Spread | None, factor: int, digits: int) -> str:
    if spread is None:
        return NONE
    mean, sd = (factor * value for value in (spread.mean, spread.sd))
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def doubtful_grid(answers: OutOfFold) -> Grid:
    """Return a table of the labels that out-of-fold predictions contradict most."""
    head = ["image", "label", "group", "answered", "age", "p(label)"]
    grid = Grid(head, "Most doubtful labels, by models that have not seen the images")
    for fact in answers.doubtful():
        chance = 1 - fact["disagreement"]
        grid.add(
            fact["id"], fact["label"], fact["group"] or NONE, fact["answered_group"],
            f"{fact['answered_age']}" or NONE, share(chance),
        )  # fmt: skip
    return grid


def across_grid(suites: Mapping[str, Suite], title: str = "") -> Grid:
    """Return a table of models on several data sets, with the best of each data set marked."""
    head = ["data", "model", "images", "exact", "95 %", "1-off", "macro-F1", "MAE"]
    grid = Grid(head, title, texts=2)
    for name, suite in suites.items():
        best = None if suite.caution else max(suite.rows, key=lambda row: row.scores.exact)
        for row in suite.rows:
            scores = row.scores
            grid.add(
                name, row.name + " (*)" * row.may_have_seen, f"{scores.n:,}",
                share(scores.exact), span(row.intervals["exact"]), share(scores.one_off),
                share(scores.macro_f1), years(scores.mae, "y"),
                style="best" if row is best and len(suite.rows) > 1 else "",
            )  # fmt: skip
        if not suite.caution:
            first = suite.rows[0].scores
            always = f"always {first.majority_group}"
            grid.add(name, always, "", share(first.majority), *[""] * 4, style="base")
    return grid


def pairs_grids(pairs: list[Difference]) -> Iterator[Grid]:
    """Yield tables of pairwise differences on the same images, by each measure, with p-values."""
    measures = (
        ("exact", 100, "points", "Differences in exact accuracy, on the same images"),
        ("years", 1, "years", "Differences in mean error of age (MAE), on the same images"),
    )
    for measure, factor, unit, title in measures:
        grid = Grid(["pair", unit, "95 %", "p", "verdict"], title)
        for pair in (pair for pair in pairs if pair.measure == measure):
            difference, low, high = (factor * v for v in (pair.difference, *pair.interval))
            grid.add(
                f"{pair.first} – {pair.second}", f"{difference:+.1f}", f"{low:+.1f} to {high:+.1f}",
                f"{pair.p:.2g}", pair.verdict,
            )  # fmt: skip
        if grid.rows:
            yield grid


def slices_grid(rows: list[Evaluation], *, wide: bool) -> Grid:
    """Return a table of the slices, a column per model: exact accuracy with interval or bias."""
    title = f"Exact accuracy by slice ({BIAS})"
    grid = Grid(["slice", "images", *(row.name for row in rows)], title)
    parts = {(part.by, part.value): part for row in rows for part in row.slices}
    for key, part in parts.items():
        own = ({(s.by, s.value): s for s in row.slices}.get(key) for row in rows)
        cells = (
            _slice_cell(one, one == row.worst_slice, wide=wide, bias=len(rows) <= FEW)
            for one, row in zip(own, rows, strict=True)
        )
        grid.add(f"{part.by}: {part.value}", f"{part.n:,}", *cells)
    return grid


def _slice_cell(part: Slice | None, worst: bool, *, wide: bool, bias: bool) -> str:
    if part is None:
        return ""
    if part.exact is None:
        return "too few"
    text = f"{part.exact:.0%}" + f" {part.bias:+.2f}" * bias
    if wide:
        text = f"{part.exact:.1%} ({span(part.interval, digits=0)})"
    return Worst(text) if worst else text


def slice_grid(slices: list[Slice], worst: Slice | None = None) -> Grid:
    """Return a table of all figures of one model's slices."""
    title = f"Exact accuracy by slice ({BIAS})"
    grid = Grid(["slice", "images", "exact", "95 %", "1-off", "bias"], title)
    for part in slices:
        cells = ["too few", "", "", ""]
        if part.exact is not None:
            exact = Worst(share(part.exact)) if part == worst else share(part.exact)
            cells = [exact, span(part.interval), share(part.one_off), f"{part.bias:+.2f}"]
        grid.add(f"{part.by}: {part.value}", f"{part.n:,}", *cells)
    return grid


def robustness_grid(results: Mapping[str, Robustness]) -> Grid:
    """Return a table of the models' exact accuracies in each condition, the clean images first.

    A cell is the accuracy, the points lost to the clean images, and half of their 95 % interval.
    """
    n = next(iter(results.values())).n
    grid = Grid([""], f"Exact accuracy on {n:,} perturbed images (points lost, 95 %)")
    columns = []
    for name, result in results.items():
        for scores in result.ways():
            grid.head.append(f"{name}, aligned" if scores[0].aligned else name)
            worst = min(scores, key=lambda score: score.exact)
            columns.append([_score_cell(score, score is worst) for score in scores])
    conditions = [score.condition for score in scores]
    for cells in zip(conditions, *columns, strict=True):
        grid.add(*cells)
    return grid


def _score_cell(score: Score, worst: bool) -> str:
    lost = lost_points(score.difference, score.interval)
    text = share(score.exact) + (f" {lost}" if score.difference or any(score.interval) else "")
    return Worst(text) if worst else text


def lost_points(difference: float, interval: Iterable[float]) -> str:
    """Format a difference of shares in points, with half of its 95 % interval."""
    low, high = interval
    return f"{100 * difference:+.1f} ±{100 * (high - low) / 2:.1f}"


def kept_robustness_grid(kept: Mapping[str, Any]) -> Grid:
    """Return a table of the robustness stored in a weights file, a column per way.

    These are exact accuracies and, where it has any, the coverages of its age sets.
    """
    columns = dict(kept["exact"])
    columns |= {f"{COVERAGE:.0%} sets, {way}": own for way, own in kept.get("coverage", {}).items()}
    grid = Grid(["", *columns])
    for condition in next(iter(columns.values())):
        grid.add(condition, *(share(column.get(condition)) for column in columns.values()))
    return grid


def photographs_grids(result: Photographs, names: list[str]) -> Iterator[Grid]:
    """Yield a table per model, with a row for all faces and for each part of them.

    Exact accuracy on the chips; pasted into photographs, undetected faces counting as
    wrong; the points lost, with half of their 95 % interval; on detected faces and their chips.
    """
    title = f"Faces in photographs: {describe_finds(result)}"
    for number, name in enumerate(names):
        head = ["", "faces", "found", f"{name}: chips", "pasted", "lost", "if found", "their chips"]
        grid = Grid(head, title)
        for key, part in result.parts().items():
            own = result.figures(number, part)
            grid.add(
                key, f"{own.n:,}", share(result.found[part].mean()), share(own.chips),
                share(own.exact), lost_points(own.exact - own.chips, own.interval),
                share(own.exact_found), share(own.chips_found),
            )  # fmt: skip
        yield grid
        title = ""


def describe_finds(result: Photographs) -> str:
    """Return the false detections in words."""
    return (
        f"{result.beside} false detections beside {len(result.found):,} faces, {result.false} in "
        f"{result.without} negatives"
    )
