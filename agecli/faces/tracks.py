"""Follow faces from frame to frame by where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agecli.faces.geometry import Box, centre, overlap

LEAST_OVERLAP = 0.1
"""Intersection over union from which on two boxes may be one face: frames lie half a second apart,
in which a face moves by most of its width."""
GONE_AFTER = 2.5
"""Seconds without a face after which it is given up; before, it may be hidden or turned."""
STEADY = 0.5
"""Seconds over which a speed is averaged, since boxes tremble between frames."""


@dataclass(frozen=True)
class Track:
    """Where in a video a face was seen; times in seconds from its start."""

    number: int
    """The faces of a video are numbered as they appear, from 1."""
    frames: int
    """How many frames its answer is the mean of."""
    first: float
    last: float
    best: float
    """The time of the frame in which it was detected surest, whose box is given."""


@dataclass(frozen=True)
class _Path:
    """A face on its way: its box at a time, and its speed in pixels per second."""

    box: Box
    seconds: float
    speed: tuple[float, float] = (0, 0)

    def at(self, seconds: float) -> Box:
        """Return the box where the face is by then, if it moves on as before."""
        x, y = (speed * (seconds - self.seconds) for speed in self.speed)
        left, top, right, bottom = self.box
        return left + x, top + y, right + x, bottom + y

    def moved(self, box: Box, seconds: float) -> _Path:
        """Return the way with the face seen in a box at a time, and its speed averaged."""
        passed = max(seconds - self.seconds, 1e-3)
        new = min(1.0, passed / STEADY)
        speed = [
            old + new * ((now - before) / passed - old)
            for old, now, before in zip(self.speed, centre(box), centre(self.box), strict=True)
        ]
        return _Path(box, seconds, (speed[0], speed[1]))


class Tracker:
    """Numbers the faces of one frame after another, the same face by the same number.

    Greedy: of all pairs of a known face, at its expected place, and a box, the one that overlaps
    most is taken first.
    """

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}
        self._count = 0

    def update(self, seconds: float, boxes: Sequence[Box]) -> tuple[list[int], list[int]]:
        """Return the face's number of each box of a frame, and the numbers of faces given up."""
        expected = {number: path.at(seconds) for number, path in self._paths.items()}
        pairs = sorted(
            (
                (overlap(box, place), index, number)
                for index, box in enumerate(boxes)
                for number, place in expected.items()
            ),
            key=lambda pair: -pair[0],
        )
        numbers: dict[int, int] = {}  # of boxes
        for shared, index, number in pairs:
            if shared >= LEAST_OVERLAP and index not in numbers and number in expected:
                numbers[index] = number
                del expected[number]
                self._paths[number] = self._paths[number].moved(boxes[index], seconds)
        for index, box in enumerate(boxes):
            if index not in numbers:
                self._count += 1
                numbers[index] = self._count
                self._paths[self._count] = _Path(box, seconds)
        lost = [n for n, path in self._paths.items() if seconds - path.seconds >= GONE_AFTER]
        for number in lost:
            del self._paths[number]
        return [numbers[index] for index in range(len(boxes))], lost
