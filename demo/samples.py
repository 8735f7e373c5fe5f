"""The example pictures: all in the public domain; examples/README.md names their sources."""

from __future__ import annotations

from pathlib import Path

from agecli.data.images import read_image

from .pictures import shrink
from .render import render
from .upload import File

FOLDER = Path(__file__).with_name("examples")
EXAMPLES = {
    "astronaut.jpg": ("An astronaut", "Eileen Collins (NASA)"),
    "admiral.jpg": ("An admiral", "Grace Hopper (US Navy)"),
    "both.jpg": ("Two faces", "Both portraits in one"),
    "shadow.jpg": ("Hard light", "One side in the shade"),
}
"""By file, what they show and whom."""


def read_example(name: str) -> File:
    """Read an example."""
    return name, (FOLDER / name).read_bytes()


def list_examples() -> str:
    """Render the examples as buttons."""
    found = [
        (name, *words, shrink(read_image(FOLDER / name), 96))
        for name, words in EXAMPLES.items()
        if (FOLDER / name).is_file()
    ]
    return render("examples", examples=found)
