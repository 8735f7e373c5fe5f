"""Files among processes: written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield another name to write a file under; it takes its own when the block ends well.

    Where the block fails, an earlier file of that name stays, and nothing else is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def growing(path: Path) -> Iterator[Path]:
    """Yield path.partial to write a file under, piece by piece.

    It takes its own name when the block ends well; where the block fails, or the process is
    killed, it stays with what it has.
    """
    partial = path.with_name(f"{path.name}.partial")
    yield partial
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
