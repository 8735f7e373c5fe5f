"""Find faces and crop them as UTKFace's chips were cropped. The only home of dlib."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom lie just outside."""

# The detector's smallest face has about 80 px. The first look finds faces down to a twentieth of
# the longest side of a large photograph; the finer one sees faces of half that size.
FIRST_SIDE = 1600
FINER_SIDE = 2400
PORTRAIT = 1 / 3
"""A face this large, in shorter sides of the picture, is its subject: no finer look is taken."""
FINER_SCORE = 0.25
"""Least score in the finer look: enlarged texture resembles faces, real ones score above this."""


@dataclass(frozen=True)
class Face:
    """A detected face: its box in the picture's pixels, and the detector's score (0 is weak)."""

    box: tuple[int, int, int, int]
    score: float


def detect(image: Image.Image) -> list[Face]:
    """Find the upright frontal faces of an RGB picture, the largest first.

    Large pictures are searched at a reduced size, so that time is bounded; where no face fills
    much of the picture it is searched again, enlarged up to 2×, for small ones. Boxes are in the
    picture's own pixels and may reach beyond its border.
    """
    longest = max(image.size)
    faces = _search(image, min(1, FIRST_SIDE / longest), 0)
    if all(_side(face.box) < PORTRAIT * min(image.size) for face in faces):
        for face in _search(image, min(2, FINER_SIDE / longest), FINER_SCORE):
            if not any(_overlap(face.box, other.box) > 0.3 for other in faces):
                faces.append(face)
    return sorted(faces, key=lambda face: _side(face.box), reverse=True)


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


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Crop the largest face as `crop_box` does, at its own resolution; None where there is none."""
    faces = detect(image)
    if not faces:
        return None
    box = crop_box(faces[0].box)
    return Image.fromarray(crop_face(image, box, round(_side(box))))


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _search(image: Image.Image, scale: float, least_score: float) -> list[Face]:
    """Run the detector on a scaled copy."""
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    found, scores, _ = _detector().run(np.asarray(image), 0, least_score)
    return [
        Face(
            (
                round(box.left() / scale),
                round(box.top() / scale),
                round((box.right() + 1) / scale),
                round((box.bottom() + 1) / scale),
            ),
            round(score, 3),
        )
        for box, score in zip(found, scores, strict=True)
    ]


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    """Give the intersection of two boxes over the smaller one's area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) / area
