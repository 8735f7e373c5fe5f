"""What goes wrong with pictures of faces, in named strengths: the one table of disturbances."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from agecli.ages import IntArray
from agecli.inference.crops import crop_face

SEED = 7
"""Decides, with an image's row, to which side it is turned and shifted."""
COVER = (127, 127, 127)
"""The grey of what hides a part of a face."""

Random = np.random.Generator


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb a face, and how strongly."""

    name: str
    apply: Callable[[Image.Image, Any, Random], Image.Image]
    """Takes a chip, a strength's value, and random numbers that are the image's own."""
    strengths: dict[str, Any]
    """By name, in the order of a scale."""
    clean: int | None = 0
    """The place on the scale where nothing is disturbed; None where there is no scale."""


def disturb(
    chips: NDArray[np.uint8], rows: IntArray, disturbance: Disturbance, strength: str
) -> NDArray[np.uint8]:
    """Disturb chips (N, S, S, 3) of the data set's rows (N,), the same way at each call."""
    value = disturbance.strengths[strength]
    return np.stack(
        [
            np.asarray(
                disturbance.apply(Image.fromarray(chip), value, np.random.default_rng((SEED, row)))
            )
            for chip, row in zip(chips, rows, strict=True)
        ]
    )


def _turn(chip: Image.Image, degrees: float, random: Random) -> Image.Image:
    """Turn to one side or the other; the border is drawn out to where the chip shows nothing."""
    side = chip.width
    pad = side // 4 + 1  # at 45° 0.21 sides are wanted
    wide = Image.fromarray(np.pad(np.asarray(chip), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    turned = wide.rotate(degrees * random.choice((-1, 1)), Image.Resampling.BILINEAR)
    return turned.crop((pad, pad, pad + side, pad + side))


def _scale(chip: Image.Image, factor: float, _: Random) -> Image.Image:
    """Show the face larger or smaller."""
    low = chip.width / 2 * (1 - 1 / factor)
    return _frame(chip, low, low, chip.width / factor)


def _shift(chip: Image.Image, share: float, random: Random) -> Image.Image:
    """Move the face by a share of the side, in any direction."""
    direction = random.uniform(0, 2 * np.pi)
    reach = share * chip.width
    return _frame(chip, np.cos(direction) * reach, np.sin(direction) * reach, chip.width)


def _frame(chip: Image.Image, left: float, top: float, side: float) -> Image.Image:
    return Image.fromarray(crop_face(chip, (left, top, left + side, top + side), chip.width))


def _shrink(chip: Image.Image, side: int, _: Random) -> Image.Image:
    """Show a face of few pixels."""
    small = chip.resize((side, side), Image.Resampling.BILINEAR)
    return small.resize(chip.size, Image.Resampling.BILINEAR)


def _blur(chip: Image.Image, share: float, _: Random) -> Image.Image:
    """Blur by a Gaussian whose standard deviation is a share of the side."""
    return chip.filter(ImageFilter.GaussianBlur(share * chip.width))


def _light(chip: Image.Image, factors: Any, _: Random) -> Image.Image:
    """Multiply all values, or red, green and blue by a factor each."""
    return Image.fromarray(np.clip(np.asarray(chip) * factors + 0.5, 0, 255).astype(np.uint8))


def _jpeg(chip: Image.Image, quality: int, _: Random) -> Image.Image:
    file = io.BytesIO()
    chip.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _cover(chip: Image.Image, box: tuple[float, float, float, float], _: Random) -> Image.Image:
    """Hide a box: left, top, right and bottom in shares of the side."""
    left, top, right, bottom = (round(end * chip.width) for end in box)
    chip = chip.copy()
    ImageDraw.Draw(chip).rectangle((left, top, right - 1, bottom - 1), COVER)
    return chip


DISTURBANCES = (
    Disturbance("rotation", _turn, {f"{n}°": n for n in (10, 20, 30, 45)}),
    Disturbance("scale", _scale, {f"×{n:g}": n for n in (0.6, 0.75, 0.8, 1.35, 1.6)}, clean=3),
    Disturbance("shift", _shift, {f"{n} %": n / 100 for n in (5, 15, 25)}),
    Disturbance("low resolution", _shrink, {f"{n} px": n for n in (64, 32, 24)}),
    Disturbance("blur", _blur, {f"{n:g} %": n / 100 for n in (0.5, 1, 2)}),
    Disturbance("brightness", _light, {f"×{n:g}": n for n in (0.5, 0.75, 1.25, 1.5)}, clean=2),
    Disturbance(
        "colour cast", _light,
        {"blue": (0.75, 0.9, 1.25), "warm": (1.25, 1.0, 0.7), "green": (0.8, 1.2, 0.8)}, clean=None,
    ),
    Disturbance("JPEG", _jpeg, {f"quality {n}": n for n in (50, 20, 10)}),
    Disturbance(  # where the mean of UTKFace's chips has them
        "occlusion", _cover,
        {"eyes": (0.12, 0.2, 0.88, 0.37), "mouth": (0.25, 0.63, 0.75, 0.83)}, clean=None,
    ),
)  # fmt: skip
