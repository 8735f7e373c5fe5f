"""Track faces from frame to frame by their position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agecli.faces.geometry import Box, centre, overlap

LEAST_OVERLAP = 0.1
"""Intersection over union above which two boxes may be one face: frames are half a second apart,
in which a face moves by most of its width."""
GONE_AFTER = 2.5
"""Seconds without a detection after which a track ends: a face may be hidden or turned away."""
STEADY = 0.5
"""Seconds over which a speed is averaged, since boxes jitter between frames."""


@dataclass(frozen=True)
class Track:
    """The track of a face in a video; times in seconds from its start."""

    number: int
    """The faces of a video are numbered as they appear, from 1."""
    frames: int
    """Number of frames over which its prediction is averaged."""
    first: float
    last: float
    best: float
    """The time of the frame with the highest detection score, whose box is returned."""


@dataclass(frozen=True)
class _Path:
    """A moving face: its box at a time, and its speed in pixels per second."""

    box: Box
    seconds: float
    speed: tuple[float, float] = (0, 0)

    def at(self, seconds: float) -> Box:
        """Return the face's expected box at a time."""
        x, y = (speed * (seconds - self.seconds) for speed in self.speed)
        left, top, right, bottom = self.box
        return left + x, top + y, right + x, bottom + y

    def moved(self, box: Box, seconds: float) -> _Path:
        """Return the path with the face in a box at a time, and its averaged speed."""
        passed = max(seconds - self.seconds, 1e-3)
        new = min(1.0, passed / STEADY)
        speed = [
            old + new * ((now - before) / passed - old)
            for old, now, before in zip(self.speed, centre(box), centre(self.box), strict=True)
        ]
        return _Path(box, seconds, (speed[0], speed[1]))


class Tracker:
    """Numbers the faces of one frame after another, the same face by the same number.

    Greedy: of all pairs of a known face, at its expected box, and a box, the one that overlaps
    most is taken first.
    """

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}
        self._count = 0

    def update(self, seconds: float, boxes: Sequence[Box]) -> tuple[list[int], list[int]]:
        """Return the face number of each box of a frame, and the numbers of ended tracks."""
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
