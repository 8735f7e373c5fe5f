"""Follow faces from frame to frame by where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agecli.inference.crops import Box

LEAST_OVERLAP = 0.1
"""Intersection over union from which on two boxes may be one face: frames lie half a second apart,
in which a face moves by most of its width."""
PATIENCE = 5
"""Frames in a row without a face after which it is given up; before, it may be hidden or turned."""


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
    """The time of the frame in which it was found surest, whose box is given."""


@dataclass(frozen=True)
class _Path:
    """A face on its way: its box at a time, its speed in pixels per second, how often missed."""

    box: Box
    seconds: float
    speed: tuple[float, float] = (0, 0)
    missed: int = 0

    def at(self, seconds: float) -> Box:
        """Give the box where the face is by then, if it moves on as before."""
        x, y = (speed * (seconds - self.seconds) for speed in self.speed)
        left, top, right, bottom = self.box
        return left + x, top + y, right + x, bottom + y

    def moved(self, box: Box, seconds: float) -> _Path:
        passed = max(seconds - self.seconds, 1e-3)
        (x, y), (old_x, old_y) = _centre(box), _centre(self.box)
        return _Path(box, seconds, ((x - old_x) / passed, (y - old_y) / passed))


class Tracker:
    """Numbers the faces of one frame after another, the same face by the same number.

    Greedy: of all pairs of a known face, at its expected place, and a box, the one that overlaps
    most is taken first.
    """

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}
        self._count = 0

    def update(self, seconds: float, boxes: Sequence[Box]) -> tuple[list[int], list[int]]:
        """Give each box of a frame its face's number, and the numbers of faces given up."""
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
        for number in expected:  # those without a box
            path = self._paths[number]
            self._paths[number] = replace(path, missed=path.missed + 1)
        for index, box in enumerate(boxes):
            if index not in numbers:
                self._count += 1
                numbers[index] = self._count
                self._paths[self._count] = _Path(box, seconds)
        lost = [number for number, path in self._paths.items() if path.missed >= PATIENCE]
        for number in lost:
            del self._paths[number]
        return [numbers[index] for index in range(len(boxes))], lost


def overlap(a: Box, b: Box) -> float:
    """Give the intersection of two boxes over their union."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (both - width * height)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
