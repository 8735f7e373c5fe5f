"""A comparison as a page: one self-contained HTML file, the same as Markdown, and its PNGs."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agecli.ages import NO_GROUP
from agecli.evaluation.photographs import Photographs, describe_finds, photographs_table
from agecli.evaluation.plots import (
    plot_confusion,
    plot_errors,
    plot_reliability,
    plot_robustness,
)
from agecli.evaluation.report import Evaluation
from agecli.evaluation.robustness import Robustness, robustness_table
from agecli.files import write_text

MISTAKES = 12
"""Most confident wrong answers that are listed per model."""

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #627d98; --line: #d9e2ec; --page: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --page: #16191d }
  img.plot { filter: invert(.89) hue-rotate(180deg) } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.4rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap } th:first-child, td:first-child { text-align: left }
th { color: var(--soft); font-weight: 600 } p.note { color: var(--soft) }
img.plot { max-width: 100%; height: auto; margin: .6rem 0 }
figure { display: inline-block; margin: .3rem; font-size: .75rem } figure img { width: 96px }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid }
  img { break-inside: avoid } }
"""

Section = tuple[str, list[Any]]
"""A heading, and what stands below it: paragraphs, tables and pictures."""


class Grid(list[list[str]]):
    """A table: rows of cells, the first one its head."""


def write_page(
    folder: Path, title: str, rows: list[dict[str, Any]], pairs: list[dict[str, Any]],
    results: dict[str, Evaluation], ids: np.ndarray, faces: np.ndarray | None,
    extra: Sequence[Section] = (),
) -> list[Path]:  # fmt: skip
    """Write index.html, report.md and PNGs into a folder; give the files.

    extra: sections to stand before those of the models, their pictures in the same folder.
    ids: (N,) names of the images; faces: the data set's images (rows, S, S, 3), or None: no faces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = [("Models", [_models(rows), _about(rows[0])])]
    if pairs:
        sections.append(("Differences in exact accuracy", [_pairs(pairs)]))
    note = "Exact accuracy, its 95 % interval (Wilson), and the bias in groups: + is too old."
    sections.append(("Slices", [_slices(rows), note]))
    sections += extra
    for row in rows:
        sections.append((row["name"], _one(folder, row, results[row["name"]], ids, faces)))
    page, text = folder / "index.html", folder / "report.md"
    write_text(page, _html(title, sections))
    write_text(text, _markdown(title, sections))
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
    return "Robustness", [Grid(robustness_table(results)), note, picture]


def photographs_section(result: Photographs, names: list[str]) -> Section:
    """Lay out what becomes of faces in larger pictures."""
    note = f"Test faces pasted into larger pictures: {describe_finds(result)}."
    return "Photographs", [Grid(photographs_table(result, names)), note]


def _one(
    folder: Path, row: dict[str, Any], result: Evaluation, ids: np.ndarray, faces: np.ndarray | None
) -> list[Any]:
    name, labels = row["name"], result.scheme.labels
    paths = [folder / f"{name}-{kind}.png" for kind in ("confusion", "reliability", "errors")]
    plot_confusion(paths[0], row["confusion"], labels, f"{name}: {row['exact']:.1%} exact")
    truth = result.scheme.groups_of(result.ages)
    known = truth != NO_GROUP
    plot_reliability(paths[1], result.probabilities[known], truth[known], name)
    parts: list[Any] = paths[:2]
    if result.expected is not None:
        plot_errors(paths[2], result.ages, result.expected, name)
        parts.append(paths[2])
    return [*parts, *_mistakes(result, truth, known, ids, faces)]


def _mistakes(
    result: Evaluation, truth: Any, known: Any, ids: np.ndarray, faces: np.ndarray | None
) -> list[Any]:
    """List the wrong answers that the model was surest of."""
    answers, chances = result.probabilities.argmax(axis=1), result.probabilities.max(axis=1)
    wrong = np.flatnonzero(known & (answers != truth))
    worst = wrong[np.argsort(-chances[wrong])][:MISTAKES]
    labels = result.scheme.labels
    grid = Grid([["most confident mistakes", "age", "group", "answered", "probability"]])
    shown = []
    for place in worst:
        said = labels[answers[place]]
        grid.append([str(ids[place]), str(result.ages[place]), labels[truth[place]], said,
                     f"{chances[place]:.1%}"])  # fmt: skip
        if faces is not None:
            shown.append((faces[result.rows[place]], f"{labels[truth[place]]}, answered {said}"))
    return [grid, *([shown] if shown else [])]


def _models(rows: list[dict[str, Any]]) -> Grid:
    head = ["model", "exact", "95 %", "1-off", "95 %", "macro-F1", "kappa", "MAE", "CS@5",
            "nearest", "ECE at T=1", "ECE", "images/s", "size"]  # fmt: skip
    grid = Grid([head])
    for row in rows:
        spans = [" – ".join(f"{100 * end:.1f}" for end in row["bootstrap"][k])
                 for k in ("exact", "one_off")]  # fmt: skip
        grid.append(
            [row["name"] + ("" if row["same_split"] else " (*)"), f"{row['exact']:.1%}", spans[0],
             f"{row['one_off']:.1%}", spans[1], f"{row['macro_f1']:.1%}", f"{row['kappa']:.3f}",
             f"{row['mae']:.2f}" if "mae" in row else "–",
             f"{row['cs5']:.1%}" if "cs5" in row else "–", f"{row['nearest']:.1%}",
             f"{row['ece_raw']:.1%}", f"{row['ece']:.1%}", f"{row['images_per_second']:,.0f}",
             f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else ""]
        )  # fmt: skip
    first = rows[0]
    blank = [""] * (len(head) - 2)
    grid.append([f"always {first['majority_group']}", f"{first['majority']:.1%}", *blank])
    return grid


def _about(row: dict[str, Any]) -> str:
    text = (
        f"{row['n']:,} images with an age group of the {row['split']} split; intervals by the "
        "bootstrap. Kappa is quadratic. Nearest: all images, an age counted to its nearest group. "
        "ECE: calibration error with 15 bins, without and with the temperature in the file."
    )
    if not row["same_split"]:
        text += " (*): trained on another split, may have seen these images."
    return text


def _pairs(pairs: list[dict[str, Any]]) -> Grid:
    grid = Grid([["", "points", "95 %", "p (McNemar, exact)"]])
    for pair in pairs:
        low, high = pair["interval"]
        grid.append([f"{pair['first']} – {pair['second']}", f"{100 * pair['difference']:+.1f}",
                     f"{100 * low:+.1f} to {100 * high:+.1f}", f"{pair['p']:.2g}"])  # fmt: skip
    return grid


def _slices(rows: list[dict[str, Any]]) -> Grid:
    """Lay out the slices: per model exact accuracy, its 95 % interval, and the bias in groups."""
    grid = Grid([["slice", "images", *(row["name"] for row in rows)]])
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
    text = f"{part['exact']:.1%} ({100 * low:.0f} – {100 * high:.0f}), {part['bias']:+.2f}"
    return "worst: " * worst + text


def _html(title: str, sections: list[Section]) -> str:
    lines = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for heading, parts in sections:
        lines.append(f"<h2>{html.escape(heading)}</h2>")
        lines += [_html_part(part) for part in parts]
    return "\n".join([*lines, "</html>\n"])


def _html_part(part: Any) -> str:
    if isinstance(part, Grid):
        tags = ["th", *["td"] * (len(part) - 1)]
        rows = (
            f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
            for tag, cells in zip(tags, part, strict=True)
        )
        return f"<div class=wide><table>{''.join(rows)}</table></div>"
    if isinstance(part, Path):
        data = base64.b64encode(part.read_bytes()).decode()
        return f'<img class=plot alt="{part.stem}" src="data:image/png;base64,{data}">'
    if isinstance(part, list):
        return "".join(
            f'<figure><img alt="" src="data:image/png;base64,{_png(face)}">'
            f"<figcaption>{html.escape(text)}</figcaption></figure>"
            for face, text in part
        )
    return f"<p class=note>{html.escape(part)}</p>"


def _png(face: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(face).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _markdown(title: str, sections: list[Section]) -> str:
    lines = [f"# {title}"]
    for heading, parts in sections:
        lines.append(f"## {heading}")
        for part in parts:
            if isinstance(part, Grid):
                rule = ["---", *["---:"] * (len(part[0]) - 1)]
                rows = [part[0], rule, *part[1:]]
                cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
                lines.append("\n".join(f"| {' | '.join(row)} |" for row in cells))
            elif isinstance(part, Path):
                lines.append(f"![{part.stem}]({part.name})")
            elif isinstance(part, str):
                lines.append(part)
    return "\n\n".join(lines) + "\n"
