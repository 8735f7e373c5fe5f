"""Tables and progress bars in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agecli import distributed

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from agecli.evaluation.metrics import Scores
    from agecli.evaluation.report.grid import Grid

WORST = "▼"
"""Marks the worst cell of a column."""
_STYLES = {"": "", "best": "bold", "base": "dim"}
_BLUES = ((62, 10), (72, 110), (88, 230))  # slate to blue, per channel: white is readable on all


def lay_out(grid: Grid, *, narrow: bool = False) -> Table:
    """Return a grid as a terminal table; narrow: with one space less between columns."""
    table = make_table(grid.title, grid.head, grid.texts)
    if narrow:
        table.padding = (0, 1, 0, 0)
    marked = False
    for row in grid.rows:
        cells = []
        for cell in row.cells:
            worst = getattr(cell, "worst", False)
            marked = marked or worst
            cells.append(f"[bold red]{WORST}{escape(cell)}[/]" if worst else escape(cell))
        table.add_row(*cells, style=_STYLES[row.style])
    if marked:
        table.caption = f"{WORST} worst of its column"
        table.caption_justify = "left"
    return table


def make_table(title: str, head: list[str], texts: int = 1) -> Table:
    """Return an empty table; texts: the number of text columns, before those of figures."""
    table = Table(
        title=escape(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for number, name in enumerate(head):
        justify: JustifyMethod = "left" if number < texts else "right"
        table.add_column(escape(name), justify=justify, no_wrap=number < texts)
    return table


def confusion_table(scores: Scores) -> Table:
    """Return the confusion matrix; a cell is bluer the larger its share of the row."""
    labels = list(scores.per_group)
    texts = [f"{count:,}" for row in scores.confusion for count in row]
    width = max(map(len, [*texts, *labels]))
    table = make_table("Images by true group (rows) and predicted group (columns)", [""])
    table.padding = 0
    for label in labels:  # aligned by hand: Rich would trim the coloured margin
        table.add_column(f" {label:>{width}} ", no_wrap=True)
    for label, row in zip(labels, scores.confusion, strict=True):
        cells = []
        for count in row:
            part = count / sum(row) if count else 0.0
            red, green, blue = (round(a + (b - a) * part) for a, b in _BLUES)
            style = f"#ffffff on rgb({red},{green},{blue})" if count else "dim"
            text = f"{count:,}" if count else "·"
            cells.append(Text(f" {text:>{width}} ", style=style))
        table.add_row(label, *cells)
    return table


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per stage on a terminal's stderr, only in the first process of a launch."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from agecli.commands._console import err

    columns = (
        TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    quiet = not err.is_terminal or not distributed.is_main()
    with Progress(*columns, console=err, disable=quiet, transient=True) as bar:
        stages = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=total, rate="")
            speed = bar.tasks[stages[stage]].speed
            rate = f"{speed:,.0f} images/s" if speed else ""
            bar.update(stages[stage], completed=done, rate=rate)

        yield show
