"""The tables of a model's scores, for evaluate and the end of a training."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_BLUES = ((62, 10), (72, 110), (88, 230))  # slate to blue, per channel: white is readable on all


def score_tables(title: str, scores: dict[str, Any]) -> list[Table]:
    """Lay out the scores of `evaluation.metrics.score`: figures, per group, confusion matrix."""
    return [figures_table(title, scores), _groups(scores), _confusion(scores)]


def figures_table(title: str, scores: dict[str, Any]) -> Table:
    """Lay out the figures over all groups, the accuracy beside the majority baseline's."""
    low, high = scores["exact_interval"]
    table = _table(escape(title), "", "images", "", "95 % interval")
    exact = f"[bold]{scores['exact']:.1%}[/]"
    interval = f"{low:.1%} – {high:.1%}"
    table.add_row("exact group", f"{scores['n']:,}", exact, interval)
    majority = f"always {scores['majority_group']} (majority baseline)"
    table.add_row(majority, "", f"{scores['majority']:.1%}", style="dim")
    table.add_row("exact or neighbouring group (1-off)", "", f"{scores['one_off']:.1%}")
    table.add_row("macro-F1", "", f"{scores['macro_f1']:.1%}")
    if "mae" in scores:
        table.add_row(
            "mean error of age (MAE)", f"{scores['n_ages']:,}", f"{scores['mae']:.2f} years"
        )
        table.add_row("age within 5 years (CS@5)", "", f"{scores['cs5']:.1%}")
    return table


def _groups(scores: dict[str, Any]) -> Table:
    table = _table("Per group", "group", "images", "precision", "recall", "F1")
    for label, group in scores["per_group"].items():
        figures = [f"{group[key]:.1%}" for key in ("precision", "recall", "f1")]
        table.add_row(label, f"{group['n']:,}", *figures)
    return table


def _confusion(scores: dict[str, Any]) -> Table:
    """Lay out the confusion matrix; a cell is the bluer, the larger its share of the row."""
    labels = list(scores["per_group"])
    texts = [f"{count:,}" for row in scores["confusion"] for count in row]
    width = max(map(len, [*texts, *labels]))
    table = _table("Images by true group (rows) and answered group (columns)", "")
    table.padding = 0
    for label in labels:  # aligned by hand: Rich would trim the margin that is to be coloured
        table.add_column(f" {label:>{width}} ", no_wrap=True)
    for label, row in zip(labels, scores["confusion"], strict=True):
        cells = []
        for count in row:
            part = count / sum(row) if count else 0.0
            red, green, blue = (round(a + (b - a) * part) for a, b in _BLUES)
            style = f"#ffffff on rgb({red},{green},{blue})" if count else "dim"
            text = f"{count:,}" if count else "·"
            cells.append(Text(f" {text:>{width}} ", style=style))
        table.add_row(label, *cells)
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
