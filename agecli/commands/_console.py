"""The two consoles: results go to stdout, everything else (progress, warnings) to stderr."""

from collections.abc import Sequence

from rich.console import Console

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Print a line on stderr as it is: no markup, no colours, not wrapped."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def shortened(names: Sequence[object], most: int = 5) -> str:
    """Name the first of many, and count the others; what is no character becomes a ?."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])).encode(errors="replace").decode() + more
