"""The last pictures of a page: within reach as long as it is open, and no more than a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from .reading import MB, Picture

MOST = 6
"""Pictures of a page."""
BYTES = 20 * MB
"""Most bytes of them together; the newest one alone may be as large."""


@dataclass
class Opened:
    """A picture that is, or was, open on a page."""

    picture: Picture
    face: int = 0
    """The face that was chosen, from 0."""
    group: str = ""
    """Its main prediction; empty before there is one."""
    number: int = field(default_factory=count(1).__next__)
    """By which the page names it."""


def remember(before: Sequence[Opened], new: Opened) -> list[Opened]:
    """Put a picture before those of a page, in place of the same one, and drop the oldest."""
    kept, held = [new], new.picture.held
    for one in before:
        if one.picture.data == new.picture.data:
            continue
        held += one.picture.held
        if len(kept) == MOST or held > BYTES:
            break
        kept.append(one)
    return kept
