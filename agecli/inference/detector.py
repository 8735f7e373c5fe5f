"""Run dlib's detector over pixels. The only home of dlib."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DETECTOR_FILE = Path(__file__).with_name("frontal_face_detector.svm")

WINDOW = 80
"""Side in pixels of the smallest face that the detector sees."""
TILTS = (0, 0, 0, -22, 22)
"""Tilt in degrees that each of the five sub-detectors stands for: frontal, the two profiles, and
heads tilted left and right, which on held-out chips lay 22 degrees off, half of them within 5."""

_threads = threading.local()


class Find(NamedTuple):
    """What the detector found, in pixels of what it looked at."""

    box: tuple[int, int, int, int]
    score: float
    tilt: int
    """Degrees, clockwise as seen."""


def look(pixels: np.ndarray, least_score: float = 0) -> list[Find]:
    """Find the faces of uint8 pixels (H, W) or (H, W, 3), from 80 px up, as they are."""
    found, scores, verdicts = _detector().run(pixels, 0, least_score)
    return [
        Find((box.left(), box.top(), box.right() + 1, box.bottom() + 1), score, TILTS[verdict])
        for box, score, verdict in zip(found, scores, verdicts, strict=True)
    ]


def _detector() -> Any:
    """Give the thread's own detector: dlib crashes where two threads share one."""
    if not hasattr(_threads, "detector"):
        _threads.detector = _load()
    return _threads.detector


def _load() -> Any:
    """Load dlib's frontal face detector, from a file in which its own `save` wrote it.

    Unpacking the copy within dlib takes 0.25 s at each start, the file 1 ms.
    """
    import dlib

    try:
        return dlib.fhog_object_detector(str(DETECTOR_FILE))
    except RuntimeError:  # a dlib with another format
        return dlib.get_frontal_face_detector()
