"""Cut faces out of pictures as UTKFace's chips were cut."""

from __future__ import annotations

import numpy as np
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom lie just outside."""


def crop_box(box: Box, margin: float = FACE_MARGIN) -> Box:
    """Give the square around a face's box that shows the margin, in box sides, on each side."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + margin)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half


def crop_face(image: Image.Image, box: Box, size: int) -> np.ndarray:
    """Cut the box out of an RGB picture, resized with antialiasing to uint8 (size, size, 3).

    What lies beyond the border is filled with the border's pixels, so that the face keeps its
    place in the crop.
    """
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
    beyond = (-left, -top, right - image.width, bottom - image.height)
    if max(beyond) > 0:
        pad_left, pad_top, pad_right, pad_bottom = (max(0, n) for n in beyond)
        inside = (left + pad_left, top + pad_top, right - pad_right, bottom - pad_bottom)
        widths = ((pad_top, pad_bottom), (pad_left, pad_right), (0, 0))
        image = Image.fromarray(np.pad(np.asarray(image.crop(inside)), widths, mode="edge"))
        box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return square(image, size, box)


def side(box: Box) -> float:
    """Give the longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])
