"""The camera's stream: the people in view, and a prediction for each, while it runs."""

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
"""Frames over which a person's prediction is averaged: two to four seconds."""


class Live:
    """A visitor's stream without its frames: people's positions, and sums of their predictions."""

    def __init__(self, contender: Contender, most_bytes: int) -> None:
        self._contender, self._most_bytes = contender, most_bytes
        self._people = contender.follow(LAST)
        self._began = time.monotonic()
        self.busy = False
        """Whether a frame is in progress: no other is accepted meanwhile."""

    def see(self, data: bytes) -> tuple[tuple[int, int], list[tuple[Face | None, Prediction]]]:
        """Return a frame's size, and the face and the prediction of each person in view.

        Raises Refused for a frame that is not an image, AgecliError for an unusable model.
        """
        image, _ = decode(data, self._most_bytes)
        _ = self._contender.model
        self._people.look(Frame(time.monotonic() - self._began, image))
        return image.size, [(face, row) for face, (row,) in self._people.in_view]
