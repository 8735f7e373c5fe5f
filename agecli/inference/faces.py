"""Find faces in pictures. The only home of dlib."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agecli.inference.crops import Box, crop_box, crop_face, side

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

_threads = threading.local()


@dataclass(frozen=True)
class Face:
    """A detected face.

    box: the square around its centre in the picture's pixels, before it is turned by the angle.
    """

    box: tuple[int, int, int, int]
    score: float
    """The detector's: 0 is weak."""
    angle: float = 0.0
    """Tilt of the head in degrees, clockwise as seen."""


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
    if len(faces) == 1 and side(faces[0].box) > CLOSE * longest:
        return faces
    scale = min(1, FIRST_SIDE / longest)
    faces = _search(image, scale, LEAST_SCORE)
    if all(side(face.box) < PORTRAIT * shortest for face in faces):
        unseen = SMALLEST / scale if faces else longest
        for face in _search(image, min(2, FINER_SIDE / longest), LEAST_SCORE):
            known = any(_overlap(face.box, other.box) > 0.3 for other in faces)
            if not known and side(face.box) < unseen:
                faces.append(face)
    faces = [Face(_refine(image, face.box), face.score) for face in faces]
    return sorted(faces, key=lambda face: side(face.box), reverse=True)


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Crop the largest face as `crop_box` does, at its own resolution; None where there is none."""
    faces = detect(image)
    if not faces:
        return None
    box = crop_box(faces[0].box)
    return Image.fromarray(crop_face(image, box, round(side(box))))


def _detector() -> Any:
    """Give this thread's detector: one keeps the picture that it searches, without the GIL."""
    if not hasattr(_threads, "detector"):
        _threads.detector = _load_detector()
    return _threads.detector


def _load_detector() -> Any:
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
    half = side(box) * REFINE_REGION / 2
    boxes = []
    for size in REFINE_SIZES:
        pixels = round(size * REFINE_REGION)
        region = crop_face(image, (x - half, y - half, x + half, y + half), pixels)
        if found := _search(Image.fromarray(region), 1, 0):
            best = max(found, key=lambda face: face.score)
            boxes.append(np.array(best.box) * (2 * half / pixels) + [x - half, y - half] * 2)
    left, top, right, bottom = np.mean(boxes, axis=0) if boxes else box
    return round(left), round(top), round(right), round(bottom)


def _overlap(a: Box, b: Box) -> float:
    """Give the intersection of two boxes over the smaller one's area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) / area
