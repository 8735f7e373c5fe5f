"""Headings, tables, pictures and notes as one self-contained HTML page, and as Markdown."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #5c6b7a; --line: #e2e8ee;
  --page: #f5f7f9; --card: #fff; --blue: #2b6cb0; --tint: #bcd6f0; --red: #b42318;
  --blush: #fdecea }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #a0a8b0; --line: #333638; --page: #111213; --card: #1c1c1c;
    --blue: #7ab4f5; --tint: #2d4a68; --red: #ffa399; --blush: #45211d }
  .plots img { filter: invert(.89) hue-rotate(180deg) } }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
  margin: 0 auto; max-width: 76rem; padding: 2.2rem 1.2rem 4rem }
header { border-top: 4px solid var(--blue); padding-top: 1.2rem }
.kicker { color: var(--blue); font-weight: 600; margin: 0; letter-spacing: .02em }
h1 { font-size: 2rem; line-height: 1.2; margin: .2rem 0 .6rem; overflow-wrap: anywhere }
.lead { font-size: 1.1rem; max-width: 46rem; margin: 0 }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .9rem }
nav a { color: var(--blue); text-decoration: none } nav a:hover { text-decoration: underline }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.3rem 1.2rem; margin-top: 1.4rem }
h2 { font-size: 1.2rem; margin: 0 0 .7rem }
.note { color: var(--soft); font-size: .875rem; max-width: 60rem; margin: .7rem 0 0 }
.wide { display: inline-block; vertical-align: top; max-width: 100%; overflow-x: auto;
  margin: .6rem 2.5rem 0 0 }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { padding: .34rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600 } tr:last-child td { border-bottom: 0 }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; padding-left: 0;
  background: var(--card) }
.best td { font-weight: 650 } mark { color: var(--red); background: var(--blush);
  border-radius: 4px; padding: .05rem .35rem }
.bar { display: grid; grid-template-columns: minmax(6rem, 10rem) 1fr 4rem; gap: .9rem;
  align-items: center; margin: .45rem 0 } .bar b { text-align: right }
.bar span { overflow-wrap: anywhere }
.track { position: relative; height: 1.3rem; border-bottom: 1px solid var(--line) }
.track i { position: absolute; top: 0; bottom: 0 }
.track .reach { background: var(--tint); border-radius: 3px; top: 20%; bottom: 20% }
.track .point { width: 4px; margin-left: -2px; background: var(--blue); border-radius: 2px }
.track .base { border-left: 2px dashed var(--soft); opacity: .6 }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; margin-top: .4rem }
.plots img { flex: 1 1 24rem; min-width: 0; max-width: 100%; height: auto }
.plots img:first-child { flex-basis: 100% }
.faces { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .8rem }
figure { margin: 0; width: 96px; font-size: .75rem } figure img { width: 96px; border-radius: 6px }
@media (max-width: 40rem) { body { padding: 1.2rem .7rem } h1 { font-size: 1.5rem }
  section { padding: .8rem .8rem 1rem } .bar { grid-template-columns: 5rem 1fr 3.4rem } }
@page { size: A4 landscape; margin: 12mm }
@media print { body { background: none; max-width: none; padding: 0; font-size: 13px }
  nav { display: none } section { border: 0; padding: 0; margin-top: 1.6rem }
  h2 { break-after: avoid } tr, img, .bar { break-inside: avoid }
  .wide { overflow: visible; break-inside: avoid }
  th:first-child, td:first-child { position: static; background: none }
  .plots img:first-child { max-height: 150mm; object-fit: contain }
  .track i, mark { print-color-adjust: exact } }
"""


class Grid(list[list[str]]):
    """A table: rows of cells, the first one its head. A cell that starts with WORST is marked."""

    def __init__(self, *rows: list[str], best: int | None = None) -> None:
        super().__init__(rows)
        self.best = best
        """The row that stands out."""


WORST = "worst: "


@dataclass
class Bars:
    """Shares with their intervals, and a share to hold them against; HTML only."""

    rows: list[tuple[str, float, tuple[float, float]]]
    base: float


class Plots(list[Path]):
    """PNG files that belong together, the first one wide."""


class Faces(list[tuple[np.ndarray, str]]):
    """Pictures (S, S, 3) with what stands below them; HTML only."""


Part = str | Grid | Bars | Plots | Faces
Section = tuple[str, list[Part]]
"""A heading, and what stands below it."""


def to_html(title: str, lead: str, sections: list[Section]) -> str:
    """Return the page; it needs no other file."""
    names = [heading for heading, _ in sections]
    links = "".join(
        f'<a href="#{number}">{html.escape(name)}</a>' for number, name in enumerate(names)
    )
    lines = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>",
        f"<header><p class=kicker>agecli evaluate</p><h1>{html.escape(title)}</h1>",
        f"<p class=lead>{html.escape(lead)}</p><nav>{links}</nav></header>",
    ]
    for number, (heading, parts) in enumerate(sections):
        lines.append(f'<section id="{number}"><h2>{html.escape(heading)}</h2>')
        lines += [*map(_html_part, parts), "</section>"]
    return "\n".join([*lines, "</html>\n"])


def _html_part(part: Part) -> str:
    match part:
        case Grid():
            return _html_grid(part)
        case Bars():
            return _html_bars(part)
        case Plots():
            pictures = (
                f'<img alt="{html.escape(path.stem)}" src="{_data(path.read_bytes())}">'
                for path in part
            )
            return f"<div class=plots>{''.join(pictures)}</div>"
        case Faces():
            figures = (
                f'<figure><img alt="" src="{_data(_png(face))}">'
                f"<figcaption>{html.escape(text)}</figcaption></figure>"
                for face, text in part
            )
            return f"<div class=faces>{''.join(figures)}</div>"
    return f"<p class=note>{html.escape(part)}</p>"


def _html_grid(grid: Grid) -> str:
    rows = []
    for number, cells in enumerate(grid):
        tag = "td" if number else "th"
        texts = "".join(f"<{tag}>{_html_cell(cell)}</{tag}>" for cell in cells)
        rows.append(f"<tr{' class=best' if number == grid.best else ''}>{texts}</tr>")
    return f"<div class=wide><table>{''.join(rows)}</table></div>"


def _html_cell(cell: str) -> str:
    text = html.escape(cell)
    return f"<mark>{text}</mark>" if text.startswith(WORST) else text


def _html_bars(bars: Bars) -> str:
    lines = []
    for name, share, (low, high) in bars.rows:
        lines.append(
            f"<div class=bar><span>{html.escape(name)}</span><div class=track>"
            f'<i class=base style="left:{bars.base:.2%}"></i>'
            f'<i class=reach style="left:{low:.2%};width:{high - low:.2%}"></i>'
            f'<i class=point style="left:{share:.2%}"></i></div><b>{share:.1%}</b></div>'
        )
    return "".join(lines)


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _png(face: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(face).save(file, "PNG")
    return file.getvalue()


def to_markdown(title: str, lead: str, sections: list[Section]) -> str:
    """Return the same text and tables, with the pictures as files beside it."""
    lines = [f"# {title}", lead]
    for heading, parts in sections:
        lines.append(f"## {heading}")
        for part in parts:
            match part:
                case Grid():
                    lines.append(_markdown_grid(part))
                case Plots():
                    lines += [f"![{path.stem}]({path.name})" for path in part]
                case str():
                    lines.append(part)
    return "\n\n".join(lines) + "\n"


def _markdown_grid(grid: Grid) -> str:
    rule = ["---", *["---:"] * (len(grid[0]) - 1)]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in [grid[0], rule, *grid[1:]])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
