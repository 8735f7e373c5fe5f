"""Drawn faces whose features grow with age, named as UTKFace names its files."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

from PIL import Image, ImageDraw


def draw_face(age: int, seed: int, size: int = 64) -> Image.Image:
    """Draw a face of an age: it lengthens, its hair greys, wrinkles and glasses come."""
    rng = random.Random(f"{age} {seed}")
    years = min(age, 100) / 100
    skin = rng.choice([(240, 205, 180), (205, 160, 125), (140, 95, 65), (225, 185, 150)])
    # A wall of random tiles behind it: or the audit would take two such faces for the same picture
    wall = Image.frombytes("RGB", (6, 6), bytes(rng.randrange(20, 236) for _ in range(6 * 6 * 3)))
    image = wall.resize((size, size), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)

    def at(*points: float) -> list[float]:
        return [point * size for point in points]

    hair = tuple(int((1 - years) * dark + years * 235) for dark in (70, 45, 30))
    top, jaw = 0.28 - 0.1 * years, 0.80 + 0.15 * years
    draw.ellipse(at(0.12, top - 0.16, 0.88, 0.7), fill=hair)
    draw.ellipse(at(0.18, top, 0.82, jaw), fill=skin)
    eye, radius = 0.52 - 0.08 * years, 0.075 - 0.04 * years
    for x in (0.36, 0.64):
        draw.ellipse(at(x - radius, eye - radius, x + radius, eye + radius), fill="white")
        draw.ellipse(at(x - radius / 2, eye - radius / 2, x + radius / 2, eye + radius / 2), fill=0)
        if age >= 45:
            draw.ellipse(at(x - 0.11, eye - 0.1, x + 0.11, eye + 0.1), outline=0, width=2)
    mouth = jaw - 0.16
    draw.arc(at(0.38, mouth - 0.06, 0.62, mouth + 0.04), 20, 160, fill=(150, 40, 40), width=2)
    for line in range(int(years * 6)):
        y = top + 0.06 + 0.035 * line
        draw.line(at(0.34, y, 0.66, y), fill=tuple(c * 2 // 3 for c in skin))
    return image


def write_faces(folder: Path, ages: list[int], *, seed: int = 0, size: int = 64) -> list[Path]:
    """Write a drawn face per age into a folder, under UTKFace's names, no two the same."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, age in enumerate(ages):
        name = f"{age}_{number % 2}_{number % 5}_2017{seed:04d}{number:09d}.jpg.chip.jpg"
        draw_face(age, seed * 100_000 + number, size).save(folder / name, quality=92)
        paths.append(folder / name)
    return paths


def write_archive(folder: Path, archive: Path) -> Path:
    """Pack a folder into a .tar.gz under one top folder, as UTKFace comes."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive


def jpeg_bytes(image: Image.Image, quality: int = 92) -> bytes:
    """Encode a picture as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


SPREAD_AGES = [1, 5, 10, 17, 28, 40, 50, 70, 3, 22]
"""An age of each Adience group, and two gap ages."""
