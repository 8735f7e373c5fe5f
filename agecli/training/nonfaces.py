"""Draw pictures of no face: noise, patterns, leaves upon leaves, shapes, text; and, held, logos."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from agecli.data.images import SUFFIXES, read_image, square

Random = np.random.Generator

SAMPLES = {
    "gradio": "media_assets/images",
    "matplotlib": "mpl-data/sample_data",
    "sklearn": "datasets/images",
}
"""Packages, and where in them sample pictures lie."""
PORTRAITS = ("grace_hopper",)


def draw_pictures(count: int, size: int, seed: int, *, held: bool = False) -> np.ndarray:
    """Draw uint8 (count, size, size, 3), the kinds in turn.

    held: of the kinds that no training sees.
    """
    kinds = HELD if held else KINDS
    random = np.random.default_rng((seed, held))
    return np.stack([kinds[number % len(kinds)](size, random) for number in range(count)])


def cut_samples(count: int, size: int, seed: int) -> np.ndarray:
    """Cut uint8 (count, size, size, 3) out of photographs and logos that packages ship as samples.

    Squares of a sixth of the picture to all of it, from any place. Empty where there are none.
    """
    random = np.random.default_rng(seed)
    samples = [read_image(path) for path in _sample_files()]
    pictures = []
    for number in range(count if samples else 0):
        image = samples[number % len(samples)]
        side = min(image.size) * random.uniform(1 / 6, 1)
        left, top = (random.uniform(0, extent - side) for extent in image.size)
        pictures.append(square(image, size, (left, top, left + side, top + side)))
    return np.array(pictures, np.uint8).reshape(-1, size, size, 3)


def _sample_files() -> list[Path]:
    """List the sample pictures of installed packages, but for the portraits among them."""
    found = []
    for package, folder in SAMPLES.items():
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            found += [p for p in Path(place, folder).glob("*.*") if p.suffix.lower() in SUFFIXES]
    return sorted(path for path in found if path.stem not in PORTRAITS)


def _colour(random: Random) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue


def _noise(size: int, random: Random) -> np.ndarray:
    """Noise of a spectrum that falls with the frequency, as in pictures of nature."""
    fx, fy = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))
    stretch = np.exp(random.uniform(-1.5, 1.5))
    frequency = np.hypot(fx * stretch, fy / stretch) + 1 / size
    spectrum = frequency ** -random.uniform(0.4, 2.2)
    grains = np.fft.fft2(random.standard_normal((3, size, size)))
    waves = np.fft.ifft2(grains * spectrum).real  # (3, size, size)
    waves /= waves.std(axis=(1, 2), keepdims=True)
    mixed = np.tensordot(random.normal(0, 1, (3, 3)) + 1.5 * random.random(), waves, axes=1)
    mixed = mixed / mixed.std() * random.uniform(15, 70) + random.uniform(60, 190, (3, 1, 1))
    return np.clip(mixed, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _waves(size: int, random: Random) -> np.ndarray:
    """Stripes, checks and rings, soft or hard."""
    y, x = np.mgrid[:size, :size] / size - random.uniform(0.2, 0.8, (2, 1, 1))
    turn = random.uniform(0, np.pi)
    a, b = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    field = [a, np.hypot(a, b), np.sin(a * 9) / 3 + b][random.integers(3)]
    wave = np.sin(field * random.uniform(6, 60))
    if random.random() < 0.4:
        wave = wave * np.sin(b * random.uniform(6, 60))
    if random.random() < 0.5:
        wave = np.sign(wave)
    share = wave[..., None] / 2 + 0.5
    mixed = share * np.array(_colour(random)) + (1 - share) * np.array(_colour(random))
    return mixed.astype(np.uint8)


def _gradient(size: int, random: Random) -> np.ndarray:
    """A ramp between four colours, with a light spot."""
    corners = random.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    ramp = np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:size, :size] / size - random.uniform(0, 1, (2, 1, 1))
    spot = np.exp(-(x * x + y * y) * random.uniform(2, 60))[..., None]
    return np.clip(ramp + spot * random.uniform(-200, 200), 0, 255).astype(np.uint8)


def _leaves(size: int, random: Random) -> np.ndarray:
    """Things in front of things, as pictures are made of (dead leaves: Lee et al. 2001)."""
    image = Image.fromarray(_noise(size, random))
    for _ in range(int(random.integers(20, 120))):
        radius = min(size / 1.5, 2 * random.random() ** -0.6) * size / 96
        x, y = random.uniform(0, size, 2)
        mask = Image.new("L", image.size)
        _blob(ImageDraw.Draw(mask), x, y, radius * 1.5, 255, random)
        if random.random() < 0.3 and radius > size / 12:
            leaf = Image.fromarray((_noise, _gradient)[random.integers(2)](size, random))
        else:
            leaf = Image.new("RGB", image.size, _colour(random))
        image.paste(leaf, mask=mask)
    return np.asarray(image)


def _shapes(size: int, random: Random) -> np.ndarray:
    """Ellipses, polygons and lines on a plain or shaded ground."""
    ground = _gradient(size, random) if random.random() < 0.5 else None
    image = Image.fromarray(ground) if ground is not None else _plain(size, random)
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 14))):
        x, y = random.uniform(0, size, 2)
        if random.random() < 0.3:
            end = tuple(random.uniform(0, size, 2))
            draw.line((x, y, *end), _colour(random), int(random.integers(1, size // 8)))
        else:
            _blob(draw, x, y, size * random.uniform(0.04, 0.5), _colour(random), random)
    return np.asarray(image)


def _text(size: int, random: Random) -> np.ndarray:
    """Letters, large or in lines."""
    image = _plain(size, random)
    draw, colour = ImageDraw.Draw(image), _colour(random)
    height = size * random.uniform(0.08, 0.9)
    font = ImageFont.load_default(height)
    y = random.uniform(-height / 2, height / 2)
    while y < size:
        letters = random.integers(33, 127, int(random.integers(3, 20)))
        words = "".join(chr(code) if random.random() > 0.15 else " " for code in letters)
        draw.text((random.uniform(-height, size / 3), y), words, colour, font=font)
        y += height * random.uniform(1, 1.6)
    return np.asarray(image)


def _logo(size: int, random: Random) -> np.ndarray:
    """A badge: rings around a star or a letter."""
    image = _plain(size, random)
    draw = ImageDraw.Draw(image)
    middle, radius = size / 2, size * random.uniform(0.3, 0.5)
    colours = [_colour(random) for _ in range(int(random.integers(2, 5)))]
    for ring, colour in enumerate(colours):
        part = radius * (1 - ring / (len(colours) + 1))
        box = (middle - part, middle - part, middle + part, middle + part)
        if random.random() < 0.7:
            draw.ellipse(box, colour)
        else:
            draw.rounded_rectangle(box, part * random.uniform(0, 0.9), colour)
    if random.random() < 0.5:
        points = int(random.integers(3, 9))
        turn = np.arange(2 * points) * np.pi / points - np.pi / 2
        length = radius * np.where(np.arange(2 * points) % 2, random.uniform(0.2, 0.5), 0.8)
        star = np.stack([middle + length * np.cos(turn), middle + length * np.sin(turn)], axis=1)
        draw.polygon([tuple(corner) for corner in star], _colour(random))
    else:
        letters = "".join(chr(code) for code in random.integers(65, 91, int(random.integers(1, 4))))
        font = ImageFont.load_default(radius * random.uniform(0.7, 1.4))
        draw.text((middle, middle), letters, _colour(random), font=font, anchor="mm")
    return np.asarray(image)


def _plain(size: int, random: Random) -> Image.Image:
    return Image.new("RGB", (size, size), _colour(random))


def _blob(
    draw: ImageDraw.ImageDraw, x: float, y: float, reach: float, fill: object, random: Random
) -> None:
    """Draw an ellipse or a polygon around a point."""
    wide, high = reach * random.uniform(0.3, 1, 2)
    if random.random() < 0.5:
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill)  # type: ignore[arg-type]
    else:
        turn = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 8))))
        corners = [(x + wide * np.cos(t), y + high * np.sin(t)) for t in turn]
        draw.polygon(corners, fill)  # type: ignore[arg-type]


Kind = Callable[[int, Random], np.ndarray]
KINDS: tuple[Kind, ...] = (_noise, _leaves, _shapes, _leaves, _waves, _text, _noise, _gradient)
HELD: tuple[Kind, ...] = (_logo,)
