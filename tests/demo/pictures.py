"""Uploads that are trouble, and the public-domain portrait."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "demo" / "examples" / "astronaut.jpg"
FACE = (130, 30, 320, 220)
"""The portrait's face with its surroundings."""


def write_troubles(folder: Path) -> dict[str, Path]:
    """Write a file of each kind that a user may try; by the words that the answer has to have."""
    portrait = Image.open(PORTRAIT).convert("RGB")
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "more than 64 million": _save(folder / "huge.png", Image.new("L", (10_000, 10_000), 80)),
        "not a picture": _write(folder / "text.jpg", b"Dear diary, " * 50),
        "No face": _save(folder / "wall.png", Image.new("RGB", (300, 200), (90, 120, 90))),
        "No face ": _save(folder / "line.png", Image.new("RGB", (10_000, 1), (9, 9, 9))),
        "damaged": _write(folder / "phone.heic", b"\0\0\0\x18ftypheic" + bytes(400)),
        "empty": _write(folder / "empty.png", b""),
        "cut short": _write(folder / "cut.jpg", PORTRAIT.read_bytes()[:9000]),
    }
    portrait.save(folder / "large.bmp")  # 0.8 MB
    return files


def animation(path: Path) -> Path:
    """Write a GIF of two frames, the first of which is the portrait."""
    portrait = Image.open(PORTRAIT).convert("RGB")
    frames = [Image.new("RGB", portrait.size, (0, 80, 0))]
    portrait.save(path, save_all=True, append_images=frames, duration=200, loop=0)
    return path


def crowd(path: Path, columns: int = 6, rows: int = 5, side: int = 150) -> Path:
    """Write a picture with the portrait's face in a grid."""
    face = Image.open(PORTRAIT).convert("RGB").crop(FACE).resize((side, side))
    image = Image.new("RGB", (columns * side, rows * side))
    for column in range(columns):
        for row in range(rows):
            image.paste(face, (column * side, row * side))
    return _save(path, image, quality=95)


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _save(path: Path, image: Image.Image, **options: int) -> Path:
    image.save(path, **options)
    return path


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
