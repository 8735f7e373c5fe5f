"""The two consoles: results go to stdout, everything else (progress, warnings) to stderr."""

import json
from typing import Any

from rich.console import Console

out = Console(emoji=False)  # a file may be called :cat:
err = Console(stderr=True, emoji=False)


def show_json(values: Any) -> None:
    """Print values as JSON, in ASCII: whatever the console, it holds what they are."""
    out.print_json(json.dumps(values, default=str), ensure_ascii=True)


def say(text: str) -> None:
    """Print a line on stderr as it is: no markup, no colours, not wrapped."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)
