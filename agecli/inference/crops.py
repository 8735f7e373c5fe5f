"""Cut faces out of pictures as UTKFace's chips were cut."""

from __future__ import annotations

from math import ceil, cos, radians, sin

import numpy as np
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom lie just outside."""

FINER = 2
"""How many times finer a crop is turned than it will be, so that turning blurs little."""


def crop_box(box: Box, margin: float = FACE_MARGIN) -> Box:
    """Give the square around a face's box that shows the margin, in box sides, on each side."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + margin)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half


def crop_face(image: Image.Image, box: Box, size: int, angle: float = 0.0) -> np.ndarray:
    """Cut the box out of an RGB picture, resized with antialiasing to uint8 (size, size, 3).

    angle: degrees by which the box is turned around its centre, clockwise as seen; the crop shows
    it upright. What lies beyond the border is filled with the border's pixels, so that the face
    keeps its place in the crop.
    """
    if angle:
        return _crop_turned(image, box, size, angle)
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        columns = np.clip(np.arange(left, right), 0, image.width - 1)
        rows = np.clip(np.arange(top, bottom), 0, image.height - 1)
        inside = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        image = Image.fromarray(np.asarray(inside)[rows - rows[0]][:, columns - columns[0]])
        box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return square(image, size, box)


def _crop_turned(image: Image.Image, box: Box, size: int, angle: float) -> np.ndarray:
    """Cut the upright square around the turned box at twice the resolution, then turn and halve."""
    x, y, fine = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, FINER * size
    c, s = cos(radians(angle)), sin(radians(angle))
    reach = abs(c) + abs(s)
    half, pixels = side(box) / 2 * reach, ceil(fine * reach)
    around = Image.fromarray(crop_face(image, (x - half, y - half, x + half, y + half), pixels))
    step = pixels / fine / reach  # pixels of the surroundings per pixel of the turned crop
    c, s, middle = c * step, s * step, pixels / 2
    matrix = (c, -s, middle - (c - s) * fine / 2, s, c, middle - (s + c) * fine / 2)
    turned = around.transform(
        (fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return square(turned, size)


def side(box: Box) -> float:
    """Give the longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])


def turned(box: Box, angle: float) -> list[tuple[float, float]]:
    """Give a box's corners, from its left top one on, turned around its centre by degrees."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    c, s = cos(radians(angle)), sin(radians(angle))
    corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
    return [
        (x + c * (across - x) - s * (down - y), y + s * (across - x) + c * (down - y))
        for across, down in corners
    ]
