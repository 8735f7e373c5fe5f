"""Pictures no two of which are alike, and croppers that worker processes can import."""

import os
import resource
import signal
import tempfile
import time
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from agecli.data.audit import Measure, find_clusters
from agecli.data.pixels import PixelFile


def textured(seed: int, size: int = 96) -> Image.Image:
    """Draw a picture with its own gradients, so that its perceptual hash is its own too."""
    noise = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def write_textured(folder: Path, ages: list[int], *, first: int = 0, quality: int = 95) -> None:
    """Write a textured picture per age under UTKFace's names, numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, age in enumerate(ages, first):
        name = f"{age}_{number % 2}_{number % 5}_2017010100{quality:03}{number:04}.jpg.chip.jpg"
        textured(number).save(folder / name, quality=quality)


class Inline:
    """Stands in for the pool of workers: all is done here and now."""

    @staticmethod
    def map(answer, pieces, lost):
        """Yield what `answer` does for each piece."""
        for piece in pieces:
            yield from answer(piece)


def traces_of(pictures: list[Image.Image], measure: Measure) -> np.ndarray:
    """Return the traces of images."""
    return measure.traces(np.array([measure.fingerprint(picture) for picture in pictures]))


def near_pairs(traces: np.ndarray, measure: Measure) -> list[list[int]]:
    """Find all pairs that may be copies, sorted, each once."""
    found = [measure.near_pairs(traces, part) for part in measure.parts(len(traces))]
    return sorted({(a, b): [a, b] for pairs in found for a, b in pairs.tolist()}.values())


def clusters_of(
    pictures: list[Image.Image], measure: Measure, digests: list[bytes] | None = None
) -> list[int]:
    """Number the clusters of pictures, stored at 96 px; no two are of the same file."""
    small = [picture.resize((96, 96)) for picture in pictures]
    digests = digests or [number.to_bytes(32) for number in range(len(pictures))]
    with tempfile.TemporaryDirectory() as folder:
        images = PixelFile(Path(folder), len(pictures), 96)
        with images.writer() as write:
            for row, picture in enumerate(small):
                write(row, picture)
        return find_clusters(
            np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
            np.ones(len(pictures), bool), traces_of(small, measure), images, measure, Inline(),
        ).tolist()  # fmt: skip


def slow_crop(image: Image.Image) -> Image.Image:
    """Spend a tenth of a second on an image."""
    time.sleep(0.1)
    return image


def picky_crop(image: Image.Image) -> Image.Image | None:
    """Find a face in bright pictures only."""
    return image if np.asarray(image).mean() > 127 else None


def cramped_crop(image: Image.Image) -> Image.Image:
    """Let this process write files of a kilobyte at most, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    return image


def deadly_crop(image: Image.Image) -> Image.Image:
    """End the worker at a white picture, as the kernel does when memory runs out."""
    if np.asarray(image).min() > 250:
        os.kill(os.getpid(), signal.SIGKILL)
    return image


def failing_crop(image: Image.Image) -> Image.Image:
    """Fail for a reason that is none of the picture's."""
    raise OSError(28, "No space left on device")


def write_set(folder: Path, names: list[str], tables: dict[str, str] | None = None) -> Path:
    """Write a small picture of its own under each name, and tables of labels beside them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        textured(crc32(f"{folder.name}/{name}".encode()), 24).save(folder / name, "JPEG")
    for name, text in (tables or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
