"""A search as a page: the table of its best trials, and its plots."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

from agecli.files import write_text
from agecli.tuning.plots import draw_plots
from agecli.tuning.study import Study, StudyProgress
from agecli.tuning.summary import Summary


def write_report(study: Study, progress: StudyProgress, summary: Summary) -> list[Path]:
    """Draw the plots as PNG, and write one HTML file that holds them all."""
    pictures = draw_plots(study, progress, summary.importances)
    page = study.folder / "report.html"
    write_text(page, _page(summary, pictures))
    return [*pictures, page]


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #d9e2ec }
th { color: #627d98; font-weight: 600 } img { max-width: 100%; margin: 1rem 0 }
"""


def _page(summary: Summary, pictures: list[Path]) -> str:
    """Put a page together that needs no other file and no network."""
    top = summary.top
    names = list(dict.fromkeys(name for trial in top for name in trial.settings))
    head = ["trial", summary.metric, "epochs", *names]
    rows = [
        [trial.trial, f"{trial.value:.4f}", trial.epochs]
        + [show(trial.settings.get(name, "")) for name in names]
        for trial in top
    ]
    counts = ", ".join(f"{count} {state}" for state, count in summary.trials.items())
    title = f"agecli tune {summary.model}"
    images = [base64.b64encode(picture.read_bytes()).decode() for picture in pictures]
    return "\n".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
            f"<style>{STYLE}</style><h1>{title}</h1><p>{counts}</p>",
            _row("th", head, "<table>"),
            *(_row("td", row) for row in rows),
            "</table>",
            *(
                f'<img alt="{picture.stem}" src="data:image/png;base64,{image}">'
                for picture, image in zip(pictures, images, strict=True)
            ),
            "</html>\n",
        ]
    )


def _row(tag: str, cells: list[Any], start: str = "") -> str:
    texts = (f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)
    return f"{start}<tr>{''.join(texts)}</tr>"


def show(value: Any) -> str:
    """Write a setting's value shortly."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
