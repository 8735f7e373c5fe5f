"""Boxes, their overlap, and the similarity transform between points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import atan2, cos, degrees, hypot, radians, sin, sqrt

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom are exclusive."""
Point = tuple[float, float]
"""Right and down, in pixels."""


@dataclass(frozen=True)
class Face:
    """A detected face.

    box: a square in the image's pixels, before rotation by the angle; it may extend beyond
    the border. UTKFace's chips show it with a margin of `FACE_MARGIN` sides.
    """

    box: tuple[int, int, int, int]
    score: float
    """The detector's confidence, 0 to 1."""
    angle: float = 0.0
    """Tilt of the head in degrees, clockwise as seen, by which the box is rotated."""
    points: tuple[Point, ...] = ()
    """The eyes, the nose, the corners of the mouth, each pair from the image's left."""


def scaled(face: Face, factor: float) -> Face:
    """Return a face in an image enlarged by a factor."""
    if factor == 1:
        return face
    left, top, right, bottom = (round(end * factor) for end in face.box)
    points = tuple((round(x * factor, 1), round(y * factor, 1)) for x, y in face.points)
    return replace(face, box=(left, top, right, bottom), points=points)


@dataclass(frozen=True)
class Similarity:
    """A transform that scales, then rotates by an angle, then shifts."""

    scale: float
    angle: float
    """Degrees, clockwise as seen."""
    shift: Point

    def __call__(self, point: Point) -> Point:
        """Map a point."""
        x, y = turn(point, self.angle)
        return self.scale * x + self.shift[0], self.scale * y + self.shift[1]


def fit_similarity(source: Sequence[Point], target: Sequence[Point]) -> Similarity:
    """Compute the transform that maps points to others with the least squared distances.

    Umeyama 1991, in two dimensions and without reflection, where scaling and rotation are the
    product with a complex number. The source's points must not all be equal.
    """
    (sx, sy), (tx, ty) = _mean(source), _mean(target)
    along = across = spread = 0.0
    for (x, y), (u, v) in zip(source, target, strict=True):
        x, y, u, v = x - sx, y - sy, u - tx, v - ty
        along += x * u + y * v
        across += x * v - y * u
        spread += x * x + y * y
    scale, angle = hypot(along, across) / spread, degrees(atan2(across, along))
    x, y = turn((sx, sy), angle)
    return Similarity(scale, angle, (tx - scale * x, ty - scale * y))


def misfit(similarity: Similarity, source: Sequence[Point], target: Sequence[Point]) -> float:
    """Compute the root mean square distance between mapped points and their targets."""
    squares = 0.0
    for point, (u, v) in zip(source, target, strict=True):
        x, y = similarity(point)
        squares += (x - u) ** 2 + (y - v) ** 2
    return sqrt(squares / len(source))


def turn(point: Point, angle: float) -> Point:
    """Rotate a point around the origin by degrees, clockwise as seen."""
    c, s = cos(radians(angle)), sin(radians(angle))
    return c * point[0] - s * point[1], s * point[0] + c * point[1]


def square_around(centre: Point, side: float) -> Box:
    """Return the upright square of a side around a point."""
    (x, y), half = centre, side / 2
    return x - half, y - half, x + half, y + half


def centre(box: Box) -> Point:
    """Return the centre of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def side(box: Box) -> float:
    """Return the longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])


def corners(box: Box, angle: float) -> list[Point]:
    """Return a box's corners, from the top left on, rotated around its centre by degrees."""
    x, y = centre(box)
    across, down = box[2] - x, box[3] - y
    turned = (
        turn(corner, angle)
        for corner in ((-across, -down), (across, -down), (across, down), (-across, down))
    )
    return [(x + right, y + below) for right, below in turned]


def overlap(a: Box, b: Box) -> float:
    """Compute the intersection of two boxes over their union."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / max(both - width * height, 1e-9)  # boxes without area do not overlap


def _mean(points: Sequence[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
