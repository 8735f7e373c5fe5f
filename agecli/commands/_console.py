"""The two consoles: results go to stdout, everything else (progress, warnings) to stderr."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

out = Console(emoji=False)  # a file may be called :cat:
err = Console(stderr=True, emoji=False)


def show_json(values: Any) -> None:
    """Print values as JSON, in ASCII, so that any console can show them."""
    out.print_json(json.dumps(values, default=str), ensure_ascii=True)


def say(text: str) -> None:
    """Print a line to stderr as it is: no markup, no colours, not wrapped."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def shortened(names: Sequence[object], most: int = 5) -> str:
    """Return the first of many names, and the number of the others; undecodable bytes become ?."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])).encode(errors="replace").decode() + more
