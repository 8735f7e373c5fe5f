"""The table of perturbations: what goes wrong with images of faces, in named strengths."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from agecli.ages import IntArray
from agecli.config import FACE_MARGIN
from agecli.faces.crops import cut
from agecli.faces.geometry import square_around

SEED = 7
"""Seed, with an image's row, of the direction of rotation and shift."""
COVER = (127, 127, 127)
"""The grey of an occlusion."""

Random = np.random.Generator
Change = Callable[[NDArray[np.uint8], IntArray], NDArray[np.uint8]]
"""Changes images (N, S, S, 3) of a data set's rows (N,)."""


@dataclass(frozen=True)
class Perturbation:
    """A way to perturb a face, and its strengths."""

    name: str
    apply: Callable[[Image.Image, Any, Random], Image.Image]
    """Maps an image around a chip, a strength's value and random numbers to an image."""
    strengths: dict[str, Any]
    """By name, in the order of a scale."""
    clean: int | None = 0
    """The position of the clean image on the scale; None without a scale."""


def surround(chips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Extend chips (N, S, S, 3) to images (N, 2S, 2S, 3) by repeating their borders.

    So shifted or enlarged faces stay within the image.
    """
    before = chips.shape[1] // 2
    after = chips.shape[1] - before
    return np.pad(chips, ((0, 0), (before, after), (before, after), (0, 0)), mode="edge")


def middle(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop the middle (N, S, S, 3) from images (N, 2S, 2S, 3), where `surround` puts the chip."""
    side = pictures.shape[1] // 2
    return pictures[:, side // 2 : side // 2 + side, side // 2 : side // 2 + side]


def perturb(
    pictures: NDArray[np.uint8], rows: IntArray, perturbation: Perturbation, strength: str
) -> NDArray[np.uint8]:
    """Perturb images of `surround` for the data set's rows (N,), the same way at each call."""
    value = perturbation.strengths[strength]
    return np.stack(
        [
            np.asarray(
                perturbation.apply(
                    Image.fromarray(picture), value, np.random.default_rng((SEED, row))
                )
            )
            for picture, row in zip(pictures, rows, strict=True)
        ]
    )


def perturb_in_turn(chips: NDArray[np.uint8], rows: IntArray) -> NDArray[np.uint8]:
    """Perturb chips (N, S, S, 3) of rows (N,), each in one way, which alternates by row."""
    ways = [(one, strength) for one in PERTURBATIONS for strength in one.strengths]
    changed = [
        perturb(picture[None], row[None], *ways[row % len(ways)])
        for picture, row in zip(surround(chips), np.asarray(rows), strict=True)
    ]
    return middle(np.concatenate(changed))


def shrink_faces(
    chips: NDArray[np.uint8], rows: IntArray, sides: Sequence[int]
) -> NDArray[np.uint8]:
    """Reduce chips (N, S, S, 3) to the pixels of faces of some sides, which alternate by row."""
    whole = np.array(sides)[rows % len(sides)] * (1 + 2 * FACE_MARGIN)
    return np.stack(
        [
            np.asarray(_resize(Image.fromarray(chip), min(round(side), chip.shape[0])))
            for chip, side in zip(chips, whole, strict=True)
        ]
    )


def _turn(picture: Image.Image, degrees: float, random: Random) -> Image.Image:
    """Rotate to a random side."""
    return _frame(picture, angle=degrees * random.choice((-1, 1)))


def _scale(picture: Image.Image, factor: float, _: Random) -> Image.Image:
    """Scale the face."""
    return _frame(picture, zoom=1 / factor)


def _shift(picture: Image.Image, share: float, random: Random) -> Image.Image:
    """Shift the face by a share of the chip's side, in a random direction."""
    direction = random.uniform(0, 2 * np.pi)
    reach = share * picture.width / 2
    return _frame(picture, np.cos(direction) * reach, np.sin(direction) * reach)


def _frame(
    picture: Image.Image, right: float = 0, down: float = 0, zoom: float = 1, angle: float = 0
) -> Image.Image:
    """Crop a square around another point, repeating the border outside."""
    whole = picture.width
    place = (whole / 2 + right, whole / 2 + down)
    return Image.fromarray(cut(picture, square_around(place, whole * zoom), whole, angle))


def _shrink(picture: Image.Image, side: int, _: Random) -> Image.Image:
    """Reduce the face to few pixels."""
    return _resize(picture, 2 * side)


def _resize(picture: Image.Image, side: int) -> Image.Image:
    """Shrink a square image to a side in pixels, and enlarge it again."""
    small = picture.resize((side, side), Image.Resampling.BILINEAR)
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def _blur(picture: Image.Image, share: float, _: Random) -> Image.Image:
    """Blur by a Gaussian whose standard deviation is a share of the chip's side."""
    return picture.filter(ImageFilter.GaussianBlur(share * picture.width / 2))


def _light(picture: Image.Image, factors: Any, _: Random) -> Image.Image:
    """Multiply all values, or red, green and blue by a factor each."""
    return Image.fromarray(np.clip(np.asarray(picture) * factors + 0.5, 0, 255).astype(np.uint8))


def _jpeg(picture: Image.Image, quality: int, _: Random) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _cover(picture: Image.Image, box: tuple[float, float, float, float], _: Random) -> Image.Image:
    """Cover a box of the chip: left, top, right and bottom in shares of its side."""
    side = picture.width // 2
    left, top, right, bottom = (side // 2 + round(end * side) for end in box)
    picture = picture.copy()
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), COVER)
    return picture


PERTURBATIONS = (
    Perturbation("rotation", _turn, {f"{n}°": n for n in (10, 20, 30, 45)}),
    Perturbation("scale", _scale, {f"×{n:g}": n for n in (0.6, 0.75, 0.8, 1.35, 1.6)}, clean=3),
    Perturbation("shift", _shift, {f"{n} %": n / 100 for n in (5, 15, 25)}),
    Perturbation("low resolution", _shrink, {f"{n} px": n for n in (64, 32, 24)}),
    Perturbation("blur", _blur, {f"{n:g} %": n / 100 for n in (0.5, 1, 2)}),
    Perturbation("brightness", _light, {f"×{n:g}": n for n in (0.5, 0.75, 1.25, 1.5)}, clean=2),
    Perturbation(
        "colour cast", _light,
        {"blue": (0.75, 0.9, 1.25), "warm": (1.25, 1.0, 0.7), "green": (0.8, 1.2, 0.8)}, clean=None,
    ),
    Perturbation("JPEG", _jpeg, {f"quality {n}": n for n in (50, 20, 10)}),
    Perturbation(  # where the mean of UTKFace's chips has them
        "occlusion", _cover,
        {"eyes": (0.12, 0.2, 0.88, 0.37), "mouth": (0.25, 0.63, 0.75, 0.83)}, clean=None,
    ),
)  # fmt: skip

CALIBRATION_VIEWS: tuple[Change, ...] = (
    partial(shrink_faces, sides=(16, 24, 32, 40)),
    partial(shrink_faces, sides=(48, 60, 72, 84)),
    perturb_in_turn,
)
"""Changes of validation images when age sets are fitted: beside the clean images, faces
of the smaller size classes of `agecli.sets`, the smallest first, and perturbed ones."""
