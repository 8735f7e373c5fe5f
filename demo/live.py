"""The camera's stream: who is in view, and what is said of each, as long as it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agecli.faces import Face
from agecli.inference.prediction import Prediction
from agecli.video.frames import Frame

from .reading import decode

if TYPE_CHECKING:
    from .models import Contender

LAST = 20
"""Frames over which the answer for a person is averaged: those of two to four seconds."""


class Live:
    """A visitor's stream, of which no frame is kept: people's places, and sums of their answers."""

    def __init__(self, contender: Contender, most_bytes: int) -> None:
        self._contender, self._most_bytes = contender, most_bytes
        self._people = contender.follow(LAST)
        self._began = time.monotonic()
        self.busy = False
        """A frame is worked on: another one is not taken meanwhile."""

    def see(self, data: bytes) -> tuple[tuple[int, int], list[tuple[Face | None, Prediction]]]:
        """Return a frame's size, and the face and the answer for each person in view.

        Raises Refused for a frame that is no picture, AgecliError for a model that is none.
        """
        image, _ = decode(data, self._most_bytes)
        _ = self._contender.model
        self._people.look(Frame(time.monotonic() - self._began, image))
        return image.size, [(face, row) for face, (row,) in self._people.in_view]
