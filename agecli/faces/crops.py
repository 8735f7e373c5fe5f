"""Align faces by five landmarks, and crop them like UTKFace's chips."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, cos, floor, radians, sin

import numpy as np
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import reduction, square
from agecli.faces.geometry import (
    Box,
    Face,
    Point,
    centre,
    fit_similarity,
    misfit,
    scaled,
    side,
    square_around,
)

CHIP = 200
"""Side in pixels of UTKFace's chips, in which the landmarks below are."""
CHIP_POINTS: tuple[Point, ...] = (
    (55.9, 58.1), (137.4, 58.5), (95.7, 104.6), (61.5, 134.7), (134.7, 133.9),
)  # fmt: skip
"""Landmarks of a face in UTKFace's chips: medians over 1,200 training chips."""

MISLEADING = 0.1 * CHIP
"""A face whose landmarks lie farther than this from those of a chip, at the best fit and in
the root mean square, is cropped by its box. In profile the eyes nearly coincide, and no
rotation fits: on photographs the distance is 32 px there (median of 15), and at most 17 px
on 190 frontal faces."""

MOST_PIXELS = 3
"""Pixels of the image per pixel of a crop, per side, above which it is reduced beforehand."""

FINER = 2
"""Resolution at which a crop is rotated, relative to its own, so that rotation blurs little.
Validation chips rotated by 30° and back are predicted as accurately as the originals."""


def align(face: Face) -> Face:
    """Set a face's box and angle by its landmarks, so that they match those of UTKFace's chips.

    A face with misleading landmarks (see `MISLEADING`), or with none, is returned unchanged.
    """
    if len(set(face.points)) < 2:
        return face
    placed = fit_similarity(CHIP_POINTS, face.points)
    if misfit(placed, CHIP_POINTS, face.points) > MISLEADING * placed.scale:
        return face
    box = face_box(placed((CHIP / 2, CHIP / 2)), CHIP * placed.scale)
    return replace(face, box=box, angle=round(placed.angle, 1))


def face_box(middle: Point, chip_side: float) -> tuple[int, int, int, int]:
    """Return the box of a face from the centre and the side of its chip."""
    left, top, right, bottom = square_around(middle, chip_side / (1 + 2 * FACE_MARGIN))
    return round(left), round(top), round(right), round(bottom)


def crop(image: Image.Image, face: Face, size: int, margin: float = FACE_MARGIN) -> np.ndarray:
    """Crop a face from an RGB image, upright, as uint8 (size, size, 3).

    margin: the surroundings shown on each side of the face's box, in sides of the box.
    """
    shown = scaled(face, 1 / reduction(image))
    return cut(image, crop_box(shown.box, margin), size, face.angle)


def crop_box(box: Box, margin: float = FACE_MARGIN) -> Box:
    """Return the square around a box with the margin, in box sides, on each side."""
    return square_around(centre(box), side(box) * (1 + 2 * margin))


def cut(
    image: Image.Image, box: Box, size: int, angle: float = 0.0, finer: float = FINER
) -> np.ndarray:
    """Crop the box from an RGB image, resized with antialiasing to uint8 (size, size, 3).

    angle: degrees by which the box is rotated around its centre, clockwise as seen; the crop shows
    it upright. finer: relative resolution at which it is rotated. Outside the image the
    border's pixels are repeated, so that the face keeps its position in the crop.
    """
    if angle:
        return _cut_turned(image, box, size, angle, finer)
    image, box = _reduced(image, box, size)
    left, top, right, bottom = _outer(box)
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        columns = np.clip(np.arange(left, right), 0, image.width - 1)
        rows = np.clip(np.arange(top, bottom), 0, image.height - 1)
        inside = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        image = Image.fromarray(np.asarray(inside)[rows - rows[0]][:, columns - columns[0]])
        box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return square(image, size, box)


def _cut_turned(image: Image.Image, box: Box, size: int, angle: float, finer: float) -> np.ndarray:
    """Crop the upright square around the rotated box at a finer scale, then rotate and shrink."""
    fine = round(finer * size)
    c, s = cos(radians(angle)), sin(radians(angle))
    reach = abs(c) + abs(s)
    pixels = ceil(fine * reach)
    around = Image.fromarray(cut(image, square_around(centre(box), side(box) * reach), pixels))
    step = pixels / fine / reach  # pixels of the surroundings per pixel of the rotated crop
    c, s, middle = c * step, s * step, pixels / 2
    matrix = (c, -s, middle - (c - s) * fine / 2, s, c, middle - (s + c) * fine / 2)
    turned = around.transform(
        (fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return square(turned, size)


def _reduced(image: Image.Image, box: Box, size: int) -> tuple[Image.Image, Box]:
    """Return a reduced image in which the box has only the pixels that its crop needs, and the box.

    So time and memory do not depend on the size of the face.
    """
    factor = int(side(box) / (MOST_PIXELS * size))
    if factor < 2:
        return image, box
    left, top, right, bottom = _outer(box)
    left, top = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
    right, bottom = max(left + 1, min(right, image.width)), max(top + 1, min(bottom, image.height))
    small = image.reduce(factor, (left, top, right, bottom))
    x0, y0, x1, y1 = box
    return small, (
        (x0 - left) / factor, (y0 - top) / factor, (x1 - left) / factor, (y1 - top) / factor,
    )  # fmt: skip


def _outer(box: Box) -> tuple[int, int, int, int]:
    """Return the box of all pixels that a box touches."""
    return floor(box[0]), floor(box[1]), ceil(box[2]), ceil(box[3])
