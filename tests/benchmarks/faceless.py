"""Pictures without faces: cuts of sample pictures in packages, textures and drawings."""

from __future__ import annotations

import importlib.util
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SAMPLES = (
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
    "gradio/media_assets/images/tower.jpg",
    "gradio/media_assets/images/cheetah1.jpg",
    "gradio/test_data/cheetah2.jpg",
    *(
        f"skimage/data/{name}"
        for name in (
            "brick.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png", "grass.png",
            "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
            "page.png", "retina.jpg", "rocket.jpg", "text.png",
        )
    ),
)  # fmt: skip
"""Images that installed packages ship: buildings, animals, objects, textures, print; no faces."""


def samples() -> list[Image.Image]:
    """Open those samples whose package is installed."""
    found = []
    for name in SAMPLES:
        spec = importlib.util.find_spec(name.split("/", 1)[0])
        path = Path(spec.origin).parents[1] / name if spec and spec.origin else None
        if path and path.exists():
            found.append(Image.open(path).convert("RGB"))
    return found


def faceless(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[Image.Image]:
    """Yield pictures of a size: cuts of samples, textures and drawings in turn."""
    rng = np.random.default_rng(seed)
    pictures = samples()
    makers = (texture, drawing, badges)
    for index in range(count):
        if index % 2 and pictures:
            yield cut(rng, pictures[index // 2 % len(pictures)], size)
        else:
            yield makers[index // 2 % len(makers)](rng, size)


def cut(rng: np.random.Generator, image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut a random piece, turned, flipped or enlarged up to 2× as the size needs or by chance."""
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose(int(rng.integers(0, 2))))
    scale = max(size[0] / image.width, size[1] / image.height)
    scale = max(scale, rng.uniform(0.5, 2))
    whole = (round(image.width * scale) + 1, round(image.height * scale) + 1)
    image = image.resize(whole, Image.Resampling.BICUBIC)
    left = int(rng.integers(0, image.width - size[0] + 1))
    top = int(rng.integers(0, image.height - size[1] + 1))
    return image.crop((left, top, left + size[0], top + size[1]))


def texture(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Make coloured 1/f noise, cells, bricks or stripes."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    match rng.integers(0, 4):
        case 0:
            field = sum(
                np.asarray(
                    Image.fromarray(rng.random((n, n), dtype=np.float32)).resize(size, 3)
                ) / n ** rng.uniform(0.2, 0.9)
                for n in (3, 7, 15, 31, 63, 127)
            )  # fmt: skip
        case 1:
            points = rng.uniform(0, 1, (int(rng.integers(10, 80)), 2)) * size
            field = np.full((height, width), np.inf, dtype=np.float32)
            for px, py in points:
                field = np.minimum(field, (x - px) ** 2 + (y - py) ** 2)
            field = np.sqrt(field)
        case 2:
            tall = rng.uniform(20, 90)
            shift = (y // tall % 2) * tall
            field = ((x + shift) % (2 * tall) < tall * 0.1) | (y % tall < tall * 0.1)
            field = field + rng.normal(0, 0.1, field.shape)
        case _:
            turn, period = rng.uniform(0, np.pi), rng.uniform(8, 80)
            wave = x * np.cos(turn) + y * np.sin(turn) + 20 * np.sin(y / rng.uniform(20, 80))
            field = np.sin(wave * 2 * np.pi / period)
    field = (field - field.min()) / np.ptp(field)
    dark, light = rng.uniform(0, 255, (2, 3))
    return Image.fromarray((dark + field[..., None] * (light - dark)).astype(np.uint8))


def drawing(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw shapes, lines and words over one another, some softened."""
    image = Image.new("RGB", size, _colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(10, 80))):
        x, y = rng.uniform(0, 1, 2) * size
        wide, tall = np.exp(rng.uniform(np.log(6), np.log(300), 2))
        box = (x, y, x + wide, y + tall)
        match rng.integers(0, 4):
            case 0:
                pen.ellipse(box, fill=_colour(rng), outline=_colour(rng), width=3)
            case 1:
                pen.rectangle(box, fill=_colour(rng), outline=_colour(rng), width=3)
            case 2:
                pen.line(box, fill=_colour(rng), width=int(rng.integers(1, 12)))
            case _:
                _write(rng, pen, (x, y), tall / 2)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2)))


def badges(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw round and square emblems: rings, bars, letters, in mirror symmetry as logos are."""
    image = Image.new("RGB", size, _colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 12))):
        side = float(np.exp(rng.uniform(np.log(50), np.log(300))))
        x, y = rng.uniform(0, 1, 2) * size
        shape = pen.ellipse if rng.random() < 0.6 else pen.rectangle
        for share in (1.0, *sorted(rng.uniform(0.4, 0.95, 2), reverse=True)):
            half = side * share / 2
            shape((x - half, y - half, x + half, y + half), fill=_colour(rng))
        for _ in range(int(rng.integers(1, 5))):
            dx, dy = rng.uniform(0, side / 4), rng.uniform(-side / 3, side / 3)
            wide, tall = rng.uniform(side / 20, side / 5, 2)
            colour = _colour(rng)
            for sign in (-1, 1):
                at = x + sign * dx
                pen.rectangle((at - wide / 2, y + dy, at + wide / 2, y + dy + tall), fill=colour)
        _write(rng, pen, (x - side / 4, y), side / 5)
    return image


def _write(
    rng: np.random.Generator, pen: ImageDraw.ImageDraw, at: tuple[float, float], size: float
) -> None:
    letters = "".join(rng.choice(list(string.ascii_letters + string.digits), rng.integers(1, 9)))
    pen.text(at, letters, fill=_colour(rng), font=ImageFont.load_default(max(6, size)))


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())
