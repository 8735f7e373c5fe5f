"""Render HTML from the templates, with every value escaped."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .pictures import data_uri, heat_over

BETWEEN_TAGS = re.compile(r">\s*\n\s*<")
"""Line breaks of a template that are not part of the page."""


def render(template: str, /, **values: Any) -> str:
    """Fill in demo/templates/TEMPLATE.html.j2."""
    text = _templates().get_template(f"{template}.html.j2").render(values)
    return BETWEEN_TAGS.sub("><", text).strip()


def notice(text: str) -> str:
    """Render what went wrong, in place of results."""
    return render("notice", text=text)


def dash(group: str) -> str:
    """Format a group with an en dash."""
    return group.replace("-", "–")


def percent(share: float, digits: int = 0) -> str:
    """Format a share, 0 to 1."""
    return f"{share:.{digits}%}"


def share(chance: float) -> str:
    """Format a share without decimals, but never as 0 or 100 unless it is."""
    if 0 < chance < 0.005:
        return "<1%"
    if 0.995 < chance < 1:
        return ">99%"
    return percent(chance)


def years(age: float | None, after: str = "") -> str:
    """Format an age, if known, with a suffix."""
    if age is None:
        return ""
    return f"about {age:.0f} {'year' if round(age) == 1 else 'years'}{after}"


def short(count: int) -> str:
    """Format a number of parameters."""
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


@cache
def _templates() -> Environment:
    folder = Path(__file__).with_name("templates")
    templates = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    for function in (dash, percent, share, years, short, data_uri):
        templates.filters[function.__name__] = function
    templates.globals["heat_over"] = heat_over
    return templates
