"""The guide: a Markdown file per task, which `agecli guide` shows."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from agecli.errors import UsageError

PAGES = (
    "sources", "prepare", "folds", "train", "models", "tune", "evaluate", "export", "predict",
    "sets", "video", "demo", "python", "scale", "memory",
)  # fmt: skip
"""The names of the pages, in the order in which they are listed."""


def read_page(name: str) -> str:
    """Return a page as Markdown. Raises UsageError for one that does not exist."""
    if name not in PAGES:
        near = get_close_matches(name.lower(), PAGES) or PAGES
        raise UsageError(f"the guide has no page {name!r}: name one of {', '.join(near)}")
    return Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")


def title_of(name: str) -> str:
    """Return what a page is about: the first line, behind its name."""
    return read_page(name).partition("\n")[0].partition(": ")[2]
