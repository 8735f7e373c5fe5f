"""Small changes of a face, on which a prediction should not depend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from agecli.faces import Face
from agecli.inference.pictures import Reading, View, crop_view

SHIFT = 0.06
"""Shift in sides of the face's box: about as far as boxes of one face differ."""
BLUR = 0.012
"""Standard deviation in sides of the crop."""
DARKER, BRIGHTER = 0.7, 1.3

SHIFTS = {
    "as it is": (0.0, 0.0),
    "left": (-SHIFT, 0.0),
    "right": (SHIFT, 0.0),
    "up": (0.0, -SHIFT),
    "down": (0.0, SHIFT),
}
"""Shifts of the crop, in sides of the face's box."""

FILTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "blurred": lambda crop: crop.filter(ImageFilter.GaussianBlur(BLUR * crop.width)),
    "darker": lambda crop: ImageEnhance.Brightness(crop).enhance(DARKER),
    "brighter": lambda crop: ImageEnhance.Brightness(crop).enhance(BRIGHTER),
}

PERTURBATIONS = (*SHIFTS, *FILTERS)


def read_perturbed(
    image: Image.Image, face: Face, views: Iterable[View], source: str = ""
) -> Reading:
    """Read a face of an RGB image once per perturbation, in the order of PERTURBATIONS.

    The first is the unchanged face.
    """
    crops = {view: np.stack(_crops(image, face, view)) for view in views}
    return Reading(source, "ok", faces=[face] * len(PERTURBATIONS), crops=crops)


def _crops(image: Image.Image, face: Face, view: View) -> list[np.ndarray]:
    shifted = [crop_view(image, _shift(face, *shift), view) for shift in SHIFTS.values()]
    plain = Image.fromarray(shifted[0])
    return shifted + [np.asarray(change(plain)) for change in FILTERS.values()]


def _shift(face: Face, right: float, down: float) -> Face:
    left, top, far, bottom = face.box
    x, y = round(right * (far - left)), round(down * (bottom - top))
    return replace(face, box=(left + x, top + y, far + x, bottom + y))
