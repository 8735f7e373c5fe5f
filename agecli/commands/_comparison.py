"""The tables of several models on the same images."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from agecli.evaluation.suite import verdict

WORST = "▼"
"""Marks a model's worst slice."""
FEW = 4
"""Models whose biases fit beside their accuracies in a terminal."""


def comparison_tables(title: str, rows: list[dict[str, Any]]) -> list[Table]:
    """Lay out the models, a row each: how right they are; then ages, calibration and cost."""
    right = _table(title, "model", "exact", "95 %", "1-off", "95 %", "macro-F1", "kappa")
    rest = _table("", "model", "MAE", "CS@5", "nearest", "ECE at T=1", "ECE", "images/s", "size")
    best = max(row["exact"] for row in rows)
    for row in rows:
        style = "bold" if row["exact"] == best else ""
        mark = "" if row["same_split"] else " (*)"
        spans = [_span(row["bootstrap"][name]) for name in ("exact", "one_off")]
        right.add_row(
            escape(row["name"]) + mark, f"{row['exact']:.1%}", spans[0], f"{row['one_off']:.1%}",
            spans[1], f"{row['macro_f1']:.1%}", f"{row['kappa']:.3f}", style=style,
        )  # fmt: skip
        rest.add_row(
            escape(row["name"]), f"{row['mae']:.2f} y" if "mae" in row else "–",
            f"{row['cs5']:.1%}" if "cs5" in row else "–", f"{row['nearest']:.1%}",
            f"{row['ece_raw']:.1%}", f"{row['ece']:.1%}", f"{row['images_per_second']:,.0f}",
            f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else "",
        )  # fmt: skip
    majority = rows[0]["majority"]
    name = f"always {rows[0]['majority_group']}"
    right.add_row(name, f"{majority:.1%}", style="dim")
    return [right, rest]


def pairs_table(pairs: list[dict[str, Any]]) -> Table:
    """Lay out which model has more of the images right, and how sure that is."""
    table = _table("Differences in exact accuracy, on the same images", "", "points", "95 %", "p")
    table.add_column("")
    for pair in pairs:
        low, high = pair["interval"]
        table.add_row(
            escape(f"{pair['first']} – {pair['second']}"), f"{100 * pair['difference']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}", f"{pair['p']:.2g}", escape(verdict(pair)),
        )  # fmt: skip
    return table


def slices_table(rows: list[dict[str, Any]]) -> Table:
    """Lay out exact accuracy and bias by sex, race and age group; of one model all figures."""
    title = "Exact accuracy by slice (bias in groups: + is too old)"
    if len(rows) == 1:
        table = _table(title, "", "images", "exact", "95 %", "1-off", "bias")
    else:
        table = _table(title, "", "images", *(escape(row["name"]) for row in rows))
    table.columns[0].no_wrap = True
    for number, part in enumerate(rows[0]["slices"]):
        cells: list[str] = []
        for row in rows:
            own = row["slices"][number]
            texts = _slice(own, len(rows))
            if own == row["worst_slice"]:
                texts = [f"[bold red]{WORST}{texts[0]}[/]", *texts[1:]]
            cells += texts
        table.add_row(_label(part), f"{part['n']:,}", *cells)
    table.caption = f"{WORST} the model's worst slice"
    table.caption_justify = "left"
    return table


def _slice(own: dict[str, Any], models: int) -> list[str]:
    if own["exact"] is None:
        return ["too few"]
    if models == 1:
        one_off, bias = f"{own['one_off']:.1%}", f"{own['bias']:+.2f}"
        return [f"{own['exact']:.1%}", _span(own["interval"]), one_off, bias]
    bias = f" {own['bias']:+.2f}" if models <= FEW else ""
    return [f"{own['exact']:.0%}{bias}"]


def _label(part: dict[str, Any]) -> str:
    return escape(f"{part['by'].split()[0]} {part['value']}")


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f}"


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(
        title=escape(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )  # fmt: skip
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
