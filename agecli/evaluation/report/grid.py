"""Tables, made once: commands print them by Rich, pages as HTML, cards as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Style = Literal["", "best", "base"]
"""Styles of a row: plain, the best, the baseline."""


class Worst(str):
    """The text of a cell marked as the worst of its column."""

    worst = True


class Row(NamedTuple):
    """A row's cells; the first is its heading."""

    cells: tuple[str, ...]
    style: Style = ""


@dataclass
class Grid:
    """A table: a head, rows of equally many cells, and its title in a terminal."""

    kind = "grid"
    head: list[str]
    title: str = ""
    rows: list[Row] = field(default_factory=list)
    texts: int = 1
    """Number of text columns; the others are figures."""

    def add(self, *cells: str, style: Style = "") -> None:
        """Add a row."""
        self.rows.append(Row(cells, style))

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rule = ["---"] * self.texts + ["---:"] * (len(self.head) - self.texts)
        return "\n".join(map(_line, [self.head, rule, *(row.cells for row in self.rows)]))


def _line(cells: Iterable[str]) -> str:
    texts = (f"worst: {cell}" if isinstance(cell, Worst) else cell for cell in cells)
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"
