"""Compressed images: images.jpegs, the files one after another, and offsets.npy.

An image that is neither cropped nor resized is kept as its own file, so that nothing is
lost; others are compressed as JPEG, whose decoding takes a third of WebP's time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.data.images import read_image
from agecli.data.mending import JPEG_START
from agecli.data.pixels import Images, Read, Write, map_array
from agecli.errors import ImageError

JPEGS, OFFSETS = "images.jpegs", "offsets.npy"
QUALITY = 90
"""JPEG quality, 1 to 95."""

MOST_SIDE = 1024

_ENTRY = np.dtype([("part", "<u4"), ("size", "<u4"), ("place", "<u8")])
_BLOCK = 4096


class CompressedFile:
    """The compressed images while they are written: any row, in any order, from any process.

    Each process appends to its own part, and records in a shared index where a row
    lies: a killed process loses only the image that it was writing.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.folder, self.count, self.size = folder, count, size
        self.index = folder / "index.part"
        with self.index.open("wb") as file:
            file.truncate(count * _ENTRY.itemsize)

    @contextmanager
    def writer(self) -> Iterator[Write]:
        """Return, within a context, a function that writes an image to its row."""
        number = os.getpid()
        with self._part(number).open("ab") as part, self.index.open("r+b") as index:

            def write(row: int, image: Image.Image, data: bytes | None = None) -> None:
                data = self._compress(image, data)
                place = part.tell()
                part.write(data)
                part.flush()  # before the index has it: the next image may crash this process
                index.seek(row * _ENTRY.itemsize)
                index.write(np.array((number, len(data), place), _ENTRY).tobytes())
                index.flush()

            yield write

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Return, within a context, a function that reads an image back."""
        with ExitStack() as files:
            index = files.enter_context(self.index.open("rb"))
            parts: dict[int, io.BufferedReader] = {}

            def read(row: int) -> NDArray[np.uint8]:
                index.seek(row * _ENTRY.itemsize)
                (entry,) = np.frombuffer(index.read(_ENTRY.itemsize), _ENTRY)
                return np.asarray(read_image(self._bytes(entry, parts, files)))

            yield read

    def finish(self) -> None:
        """Join the parts in order of the rows, and remove them."""
        offsets = np.zeros(self.count + 1, "<u8")
        with ExitStack() as files:
            index = files.enter_context(self.index.open("rb"))
            images = files.enter_context((self.folder / JPEGS).open("wb"))
            parts: dict[int, io.BufferedReader] = {}
            for start in range(0, self.count, _BLOCK):
                entries = np.frombuffer(index.read(_BLOCK * _ENTRY.itemsize), _ENTRY)
                for row, entry in enumerate(entries, start + 1):
                    if entry["size"]:
                        images.write(self._bytes(entry, parts, files))
                    offsets[row] = images.tell()
        np.save(self.folder / OFFSETS, offsets)
        for path in (self.index, *map(self._part, parts)):
            path.unlink()

    def _part(self, number: int) -> Path:
        return self.folder / f"{number}.part"

    def _bytes(
        self, entry: np.void, parts: dict[int, io.BufferedReader], files: ExitStack
    ) -> bytes:
        number = int(entry["part"])
        if number not in parts:
            parts[number] = files.enter_context(self._part(number).open("rb"))
        parts[number].seek(int(entry["place"]))
        return parts[number].read(int(entry["size"]))

    def _compress(self, image: Image.Image, data: bytes | None) -> bytes:
        if data and data.startswith(JPEG_START) and len(data) <= most_bytes(self.size):
            return data
        content = io.BytesIO()
        image.save(content, "JPEG", quality=QUALITY)
        return content.getvalue()


class CompressedImages(Images):
    """Images that are decompressed on access."""

    def __init__(self, path: Path, offsets: NDArray[np.unsignedinteger], size: int) -> None:
        super().__init__(path, len(offsets) - 1, size)
        self.offsets = offsets

    def _read(self, row: int, image: NDArray[np.uint8]) -> None:
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        if begin == end:  # an unusable image
            image[:] = 0
            return
        data = bytearray(end - begin)
        self._fill(memoryview(data), begin)
        try:
            decoded = read_image(bytes(data))
        except ImageError as error:
            raise self._damaged(f"is damaged (image {row}: {error})") from error
        if decoded.size != (image.shape[1], image.shape[0]):
            raise self._damaged(f"is damaged (image {row}: {decoded.width}x{decoded.height})")
        image[:] = np.asarray(decoded)


def most_bytes(size: int) -> int:
    """Return the most bytes of an image of a side: those of its pixels, and a header."""
    return size * size * 3 + 4096


def open_compressed(folder: Path, count: int) -> CompressedImages:
    """Open images (count, S, S, 3). Raises ValueError for invalid or other files."""
    path = folder / JPEGS
    mapped = map_array(folder / OFFSETS)
    if mapped.dtype != "<u8" or mapped.shape != (count + 1,):
        raise ValueError(f"not the offsets of {count} images")
    offsets = np.array(mapped)
    if offsets[0] or offsets[-1] != path.stat().st_size or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"not the offsets of the images in {JPEGS}")
    sizes = np.diff(offsets)
    most = int(sizes.max(initial=0))
    side = _side(path, int(sizes[sizes > 0][0])) if most else 0
    if not side or most > most_bytes(side):
        raise ValueError(f"images of {most} bytes, of a side of {side} pixels")
    return CompressedImages(path, offsets, side)


def _side(path: Path, size: int) -> int:
    """Return the side of the first image, which all share. Raises ValueError if it is invalid."""
    with path.open("rb") as file:
        data = file.read(min(size, most_bytes(MOST_SIDE)))
    try:
        image = read_image(data)
    except ImageError as error:
        raise ValueError(f"its first image: {error}") from error
    if image.width != image.height or image.width > MOST_SIDE:
        raise ValueError(f"its first image has {image.width}x{image.height} pixels")
    return image.width
