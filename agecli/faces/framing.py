"""Recognise images that are framed like UTKFace's aligned chips."""

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
"""Largest distance in pixels of a source's landmarks from those of a chip, as the median of its
images: it is 7 px of 200 for UTKFace's training chips, and 20 px for Images of Groups' crops,
which a detector made."""


def judge(pictures: Iterator[Image.Image]) -> Verdict:
    """Decide whether the faces of a source's images are to be cropped, by some of the images.

    They are if most of the detected faces do not lie as in UTKFace's chips. If few are
    detected at all, as in very small or very tight crops, images are taken as they are.
    """
    distances = [distance_from_chip(picture) for picture in pictures]
    seen = [distance for distance in distances if distance is not None]
    if not distances or 2 * len(seen) < len(distances):
        return Verdict(False, f"a face is detected in {len(seen)} of {len(distances)} of them")
    middle = median(seen)
    place = f"landmarks are {middle:.0f} of {CHIP} px off a chip's (median of {len(seen)})"
    return Verdict(middle > FARTHEST, place)


def distance_from_chip(picture: Image.Image) -> float | None:
    """Return the distance of the largest face's landmarks from those of a chip.

    It is the root mean square in pixels of a chip of 200, to whose size the image's centred
    square is scaled; None without a face.
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
