"""The two consoles: results go to stdout, everything else (progress, warnings) to stderr."""

from rich.console import Console

out = Console()
err = Console(stderr=True)
