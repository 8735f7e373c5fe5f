"""The two consoles: results go to stdout, everything else (progress, warnings) to stderr."""

from rich.console import Console

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Print a line on stderr as it is: no markup, no colours, not wrapped."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)
