"""Negatives: colour ramps, clouds, weaves, objects; backgrounds of synthetic photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Random = np.random.Generator
Size = tuple[int, int]
"""Width and height in pixels."""


def draw_background(size: Size, random: Random) -> Image.Image:
    """Draw an RGB image without a face, of a random kind."""
    kinds = (_ramp, _clouds, _weave, _things)
    return kinds[random.integers(len(kinds))](size, random)


def _colour(random: Random) -> tuple[int, int, int]:
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _grains(cells: Size, size: Size, random: Random) -> Image.Image:
    """Draw random colours on a coarse grid, interpolated smoothly."""
    width, height = cells
    colours = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def _ramp(size: Size, random: Random) -> Image.Image:
    """Draw a wall or a sky: a gradient of few colours."""
    return _grains((2, 2), size, random)


def _clouds(size: Size, random: Random) -> Image.Image:
    """Draw foliage, stone or cloth out of focus: grains of all sizes, finer ones fainter."""
    picture, share = _grains((3, 2), size, random), random.uniform(0.35, 0.65)
    for level in range(2, 8):
        grains = _grains((3 * 2**level, 2 * 2**level), size, random)
        picture = Image.blend(picture, grains, share)
        share *= random.uniform(0.55, 0.85)
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 4)))


def _weave(size: Size, random: Random) -> Image.Image:
    """Draw rotated stripes or checks between two colours."""
    y, x = np.mgrid[: size[1], : size[0]]
    turn = random.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn)
    waves = np.sin(along / random.uniform(2, 40))
    if random.random() < 0.5:
        waves = waves * np.sin(across / random.uniform(2, 40))
    share = (np.tanh(waves * random.uniform(0.5, 6)) + 1)[..., None] / 2  # (height, width, 1)
    picture = share * _colour(random) + (1 - share) * _colour(random)
    return Image.fromarray(picture.astype(np.uint8))


def _things(size: Size, random: Random) -> Image.Image:
    """Draw overlapping boxes, balls, sticks and polygons, sharp or out of focus."""
    picture = _ramp(size, random)
    draw = ImageDraw.Draw(picture)
    for _ in range(random.integers(5, 60)):
        x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
        reach = np.exp(random.uniform(np.log(8), np.log(size[1] / 2)))
        corners = random.uniform(-1, 1, (random.integers(2, 7), 2)) * reach + (x, y)
        kind = random.integers(3)
        if kind == 0:
            wide, high = random.uniform(0.3, 1, 2) * reach
            draw.ellipse((x - wide, y - high, x + wide, y + high), _colour(random))
        elif kind == 1:
            draw.line((*corners[0], *corners[1]), _colour(random), int(random.integers(1, 20)))
        else:
            draw.polygon([(x, y), *map(tuple, corners)], _colour(random))
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 5)))
