"""The same face, a little different: what an answer should not depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from agecli.faces import Face
from agecli.inference.pictures import Reading, View, crop_view

SHIFT = 0.06
"""In sides of the face's box: about as far as boxes of one face differ."""
BLUR = 0.012
"""Standard deviation in sides of the crop."""
DARKER, BRIGHTER = 0.7, 1.3

MOVES = {
    "as it is": (0.0, 0.0),
    "left": (-SHIFT, 0.0),
    "right": (SHIFT, 0.0),
    "up": (0.0, -SHIFT),
    "down": (0.0, SHIFT),
}
"""Where the crop is moved to, in sides of the face's box."""

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "blurred": lambda crop: crop.filter(ImageFilter.GaussianBlur(BLUR * crop.width)),
    "darker": lambda crop: ImageEnhance.Brightness(crop).enhance(DARKER),
    "brighter": lambda crop: ImageEnhance.Brightness(crop).enhance(BRIGHTER),
}

VARIANTS = (*MOVES, *CHANGES)


def vary(image: Image.Image, face: Face, views: Iterable[View], source: str = "") -> Reading:
    """Read a face of an RGB picture once per variant, in the order of VARIANTS.

    The first is the face as it is.
    """
    crops = {view: np.stack(_crops(image, face, view)) for view in views}
    return Reading(source, "ok", faces=[face] * len(VARIANTS), crops=crops)


def _crops(image: Image.Image, face: Face, view: View) -> list[np.ndarray]:
    moved = [crop_view(image, _move(face, *move), view) for move in MOVES.values()]
    plain = Image.fromarray(moved[0])
    return moved + [np.asarray(change(plain)) for change in CHANGES.values()]


def _move(face: Face, right: float, down: float) -> Face:
    left, top, far, bottom = face.box
    x, y = round(right * (far - left)), round(down * (bottom - top))
    return replace(face, box=(left + x, top + y, far + x, bottom + y))
