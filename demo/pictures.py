"""Pictures in a page, as data: URIs, so that no file is written or served."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

SHOWN = 960
"""Longest side of a shown picture."""

HEAT = np.array([[0, 0, 30], [90, 20, 110], [205, 65, 90], [250, 165, 60], [252, 250, 190]], float)
"""Colour map of heat maps (after matplotlib's magma)."""


def data_uri(image: Image.Image | np.ndarray, quality: int = 88) -> str:
    """Encode a picture, or RGB pixels (H, W, 3), as JPEG in a data: URI."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def shrink(image: Image.Image, longest: int = SHOWN) -> Image.Image:
    """Shrink a picture to a longest side."""
    if max(image.size) <= longest:
        return image
    scale = longest / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)


def heat_over(crop: np.ndarray, heat: np.ndarray, side: int = 224) -> np.ndarray:
    """Overlay a heat map (h, w) from 0 to 1 on a crop (S, S, 3); returns uint8 (side, side, 3)."""
    face = Image.fromarray(crop).resize((side, side), Image.Resampling.BICUBIC)
    smooth = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(smooth), 0, 1)  # (side, side)
    places = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(level, places, channel) for channel in HEAT.T], axis=-1)
    grey = np.asarray(face.convert("L"), float)[..., None]
    opacity = 0.25 + 0.5 * level[..., None]
    return np.round(grey * (1 - opacity) + colour * opacity).astype(np.uint8)
