"""A page of headings, tables, plots and notes: one self-contained HTML file, and Markdown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from agecli.evaluation.report.grid import Grid


@dataclass
class Bars:
    """Shares with intervals, and a baseline; HTML only."""

    kind = "bars"
    rows: list[tuple[str, float, tuple[float, float]]]
    base: float


@dataclass
class Plots:
    """PNG files that belong together, the first one wide."""

    kind = "plots"
    paths: list[Path]


@dataclass
class Faces:
    """Images (S, S, 3) with captions; HTML only."""

    kind = "faces"
    pictures: list[tuple[np.ndarray, str]] = field(default_factory=list)


Part = str | Grid | Bars | Plots | Faces
Section = tuple[str, list[Part]]
"""A heading, and the parts below it."""


@dataclass
class Page:
    """The contents of a report."""

    command: str
    """The command that wrote it."""
    title: str
    lead: str
    sections: list[Section]

    def html(self) -> str:
        """Return the page, which needs no other file."""
        return _fill(Path(__file__).with_name("page.html.j2"), escape=True, page=self)

    def markdown(self, folder: Path) -> str:
        """Return the same text and tables for a file in the folder of the plots."""
        lines = [f"# {self.title}", self.lead]
        for heading, parts in self.sections:
            lines.append(f"## {heading}")
            for part in parts:
                match part:
                    case Grid():
                        lines.append(part.markdown())
                    case Plots():
                        lines += [f"![{path.stem}]({_link(path, folder)})" for path in part.paths]
                    case str():
                        lines.append(part)
        return "\n\n".join([*lines, f"<!-- agecli {self.command} -->"]) + "\n"


def _link(path: Path, folder: Path) -> str:
    """Return a file's Markdown link from a folder above it, with blanks escaped."""
    return quote(path.relative_to(folder).as_posix())


def fill_markdown(template: Path, **values: Any) -> str:
    """Return a Markdown template filled with values."""
    return _fill(template, escape=False, **values)


def _fill(template: Path, *, escape: bool, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=escape, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"percent": "{:.2%}".format, "share": "{:.1%}".format, "uri": _uri}
    return environment.get_template(template.name).render(values)


def _uri(picture: Path | np.ndarray) -> str:
    """Return a PNG file, or pixels (S, S, 3) as PNG, as a data URI."""
    if isinstance(picture, Path):
        data = picture.read_bytes()
    else:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        data = file.getvalue()
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
