"""Find faces and crop them as UTKFace's chips were cropped. The only home of dlib."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom lie just outside."""

DETECTOR_FILE = Path(__file__).with_name("frontal_face_detector.svm")

SMALLEST = 80
"""Side in pixels of the smallest face that the detector sees."""
CLOSE_SIDE = 104
"""Longest side at which a picture is looked at first: enough where a face fills it."""
FIRST_SIDE = 1600
"""Longest side of the ordinary look, which bounds its time."""
FINER_SIDE = 2400
"""Longest side of the look for small faces."""
CLOSE = 0.8
"""A face this large, in longest sides of the picture, leaves no room for another: a crop."""
PORTRAIT = 1 / 3
"""A face this large, in shorter sides of the picture, is its subject: no finer look is taken."""
REFINE_SIZES, REFINE_REGION = (96, 107, 119), 1.8
"""Sides in pixels of a face in the closer looks, and what they show of its surroundings."""
LEAST_SCORE = 0.15
"""Below this a find in a larger scene is more often a badge or a texture than a face."""


@dataclass(frozen=True)
class Face:
    """A detected face: its box in the picture's pixels, and the detector's score (0 is weak)."""

    box: tuple[int, int, int, int]
    score: float


def detect(image: Image.Image) -> list[Face]:
    """Find the upright frontal faces of an RGB picture, the largest first.

    Large pictures are searched at a reduced size, so that time is bounded; where no face fills
    much of the picture it is searched again, enlarged up to 2×, for small ones. The detector's
    boxes come in coarse steps, so each is set anew from three closer looks: on chips pasted into
    scenes that lost 1.3 points of exact accuracy instead of 3.3. Boxes are in the picture's own
    pixels and may reach beyond its border.
    """
    longest, shortest = max(image.size), min(image.size)
    faces = _search(image, CLOSE_SIDE / longest)
    if len(faces) == 1 and _side(faces[0].box) > CLOSE * longest:
        return faces
    scale = min(1, FIRST_SIDE / longest)
    faces = _search(image, scale, LEAST_SCORE)
    if all(_side(face.box) < PORTRAIT * shortest for face in faces):
        unseen = SMALLEST / scale if faces else longest
        for face in _search(image, min(2, FINER_SIDE / longest), LEAST_SCORE):
            known = any(_overlap(face.box, other.box) > 0.3 for other in faces)
            if not known and _side(face.box) < unseen:
                faces.append(face)
    faces = [Face(_refine(image, face.box), face.score) for face in faces]
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
    """Load dlib's frontal face detector, from a file in which its own `save` wrote it.

    Unpacking the copy within dlib takes 0.25 s at each start, the file 1 ms.
    """
    import dlib

    try:
        return dlib.fhog_object_detector(str(DETECTOR_FILE))
    except RuntimeError:  # a dlib with another format
        return dlib.get_frontal_face_detector()


def _search(image: Image.Image, scale: float, least_score: float = 0) -> list[Face]:
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


def _refine(image: Image.Image, box: Box) -> tuple[int, int, int, int]:
    """Look at a face in three sizes, and give the mean of the boxes found."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = _side(box) * REFINE_REGION / 2
    boxes = []
    for size in REFINE_SIZES:
        side = round(size * REFINE_REGION)
        region = Image.fromarray(crop_face(image, (x - half, y - half, x + half, y + half), side))
        if found := _search(region, 1, 0):
            best = max(found, key=lambda face: face.score)
            boxes.append(np.array(best.box) * (2 * half / side) + [x - half, y - half] * 2)
    left, top, right, bottom = np.mean(boxes, axis=0) if boxes else box
    return round(left), round(top), round(right), round(bottom)


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    """Give the intersection of two boxes over the smaller one's area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) / area
