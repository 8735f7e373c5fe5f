"""Find faces and crop them as UTKFace's chips are cropped; the one home of dlib."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.data.images import square

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the upright picture; may reach beyond its border."""

MAX_SIDE = 1280
"""Larger pictures are searched at this size, which bounds the time; faces from 80 px there."""
_REFINE_REGION = 1.8
_REFINE_SIZES = (96, 107, 119)
_NEIGHBOUR_OVERLAP = 0.4


@dataclass(frozen=True)
class Face:
    """A detected face: a square box, and the detector's score (about 0 doubtful, 2 certain)."""

    box: Box
    score: float


def detect(image: Image.Image) -> list[Face]:
    """Find the faces of an upright RGB picture, largest first.

    dlib's HOG detector (King 2015) sees faces from 80 px; where it finds none, the picture is
    searched once more at twice the size. Its boxes come in steps of a sixth, so each is set anew
    from the mean of three looks at the face in slightly different sizes: the spread of the box's
    side falls from 8.4 to 6.2 %.
    """
    scale = min(1.0, MAX_SIDE / max(image.size))
    faces = _search(image, scale)
    if not faces and 2 * scale * max(image.size) <= 2 * MAX_SIDE:
        faces = _search(image, min(2.0, MAX_SIDE / max(image.size)))
    faces = [Face(_refine(image, face.box), face.score) for face in faces]
    return sorted(faces, key=lambda face: face.box[0] - face.box[2])


def crop_box(box: Box, margin: float = FACE_MARGIN) -> Box:
    """Widen a face's box to what a chip shows; margin: on each side, in box sides."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + margin)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half


def crop(image: Image.Image, box: Box, size: int) -> NDArray[np.uint8]:
    """Cut a box out as uint8 (size, size, 3); beyond the border the edge's pixels go on."""
    whole = (int(np.floor(box[0])), int(np.floor(box[1])), int(box[2]) + 1, int(box[3]) + 1)
    inside = (
        max(0, whole[0]), max(0, whole[1]), min(image.width, whole[2]), min(image.height, whole[3])
    )  # fmt: skip
    before = (inside[1] - whole[1], inside[0] - whole[0])
    after = (whole[3] - inside[3], whole[2] - inside[2])
    patch = np.asarray(image.crop(inside))
    patch = np.pad(patch, [(before[0], after[0]), (before[1], after[1]), (0, 0)], mode="edge")
    left, top, right, bottom = box
    local = (left - whole[0], top - whole[1], right - whole[0], bottom - whole[1])
    return square(Image.fromarray(patch), size, local)


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Cut the largest face out of a photograph, at its own resolution; None where there is none."""
    faces = detect(image)
    if not faces:
        return None
    box = crop_box(faces[0].box)
    return Image.fromarray(crop(image, box, max(1, round(box[2] - box[0]))))


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _run(image: Image.Image) -> list[Face]:
    rectangles, scores, _ = _detector().run(np.asarray(image), 0, 0.0)
    return [
        Face((r.left(), r.top(), r.right() + 1, r.bottom() + 1), score)
        for r, score in zip(rectangles, scores, strict=True)
    ]


def _search(image: Image.Image, scale: float) -> list[Face]:
    if scale != 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    faces = [
        Face((f.box[0] / scale, f.box[1] / scale, f.box[2] / scale, f.box[3] / scale), f.score)
        for f in _run(image)
    ]
    # A head that is cut by the border is found only with some picture around it: dlib pads.
    return faces


def _refine(image: Image.Image, box: Box) -> Box:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = (box[2] - box[0]) * _REFINE_REGION / 2
    looks = []
    for size in _REFINE_SIZES:
        side = round(size * _REFINE_REGION)
        region = Image.fromarray(crop(image, (x - half, y - half, x + half, y + half), side))
        if found := _run(region):
            face = max(found, key=lambda face: face.score)
            zoom = 2 * half / side
            looks.append([value * zoom for value in face.box])
    if not looks:
        return box
    left, top, right, bottom = np.mean(looks, axis=0)
    return x - half + left, y - half + top, x - half + right, y - half + bottom
