"""Tell pictures that are framed as UTKFace's aligned chips are from others."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot
from statistics import median

from PIL import Image

from agecli.data.framing import Verdict
from agecli.faces.crops import CHIP, CHIP_POINTS
from agecli.faces.detector import detect
from agecli.faces.geometry import Point

FARTHEST = 0.06 * CHIP
"""Pixels by which a source's points lie from their places in a chip at most, as the median of its
pictures: it is 7 px of 200 over UTKFace's training chips, and 20 px over Images of Groups' crops,
which a detector cut out."""


def judge(pictures: Iterator[Image.Image]) -> Verdict:
    """Say whether the faces of a source's pictures are to be cropped, by some of them.

    They are where most of the faces that are seen do not lie as in UTKFace's chips. Where few are
    seen at all, as in very small or very narrow crops, pictures are taken as they are.
    """
    distances = [distance_from_chip(picture) for picture in pictures]
    seen = [distance for distance in distances if distance is not None]
    if not distances or 2 * len(seen) < len(distances):
        return Verdict(False, f"a face is seen in {len(seen)} of {len(distances)} of them")
    middle = median(seen)
    place = f"their points lie {middle:.0f} px from a chip's, of {CHIP} (median of {len(seen)})"
    return Verdict(middle > FARTHEST, place)


def distance_from_chip(picture: Image.Image) -> float | None:
    """Return how far the points of the largest face lie from their places in a chip.

    That is the root mean square in pixels of a chip of 200, to whose size the picture's centred
    square is brought; None where no face is seen.
    """
    faces = [face for face in detect(picture) if face.points]
    if not faces:
        return None
    squares = [
        hypot(x - u, y - v) ** 2
        for (x, y), (u, v) in zip(_in_chip(picture, faces[0].points), CHIP_POINTS, strict=True)
    ]
    return (sum(squares) / len(squares)) ** 0.5


def _in_chip(picture: Image.Image, points: tuple[Point, ...]) -> list[Point]:
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return [((x - left) * CHIP / side, (y - top) * CHIP / side) for x, y in points]
