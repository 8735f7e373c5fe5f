"""Images that stay on disk until a row is read; stored as pixels, in images.npy."""

from __future__ import annotations

import os
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.errors import DataError

IMAGES = "images.npy"

Read = Callable[[int], NDArray[np.uint8]]
"""Reads the image (size, size, 3) of a row."""
Write = Callable[[int, Image.Image, bytes | None], None]
"""Writes a row: its image (RGB, size × size), and the file with just that image, if any."""


class Images(ABC):
    """The images (N, S, S, 3) of a data set, uint8, which stay on disk until they are read.

    Plain reads, since a memory map kills the process if its file is truncated. NumPy accepts it as
    an array: `np.take`, rows by number, slice or array, or all by `np.asarray`.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.path, self.shape = path, (count, size, size, 3)
        binary = getattr(os, "O_BINARY", 0)  # on Windows
        self.file = os.open(path, os.O_RDONLY | binary)  # the same file even if it is replaced
        self.lock = Lock()
        weakref.finalize(self, os.close, self.file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        return self.take(np.arange(len(self))[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def take(
        self, rows: Any, axis: int = 0, out: NDArray[np.uint8] | None = None, mode: str = "raise"
    ) -> NDArray[np.uint8]:
        """Read images (..., S, S, 3) of rows (...), as `np.take` along the first axis.

        Raises DataError if the file no longer has them.
        """
        rows = np.asarray(rows)
        if out is None:
            out = np.empty((*rows.shape, *self.shape[1:]), np.uint8)
        for image, row in zip(out.reshape(-1, *self.shape[1:]), rows.reshape(-1), strict=True):
            self._read(int(row), image)
        return out

    @abstractmethod
    def _read(self, row: int, image: NDArray[np.uint8]) -> None:
        """Fill an image (S, S, 3), contiguous in memory."""

    def _fill(self, target: memoryview, place: int) -> None:
        """Fill a buffer from an offset of the file. Raises DataError if the file is too short."""
        if hasattr(os, "preadv"):
            read = os.preadv(self.file, [target], place)
        else:
            with self.lock:  # Windows: threads share the file's one position
                os.lseek(self.file, place, os.SEEK_SET)
                data = os.read(self.file, len(target))
            target[: len(data)] = data
            read = len(data)
        if read != len(target):
            raise self._damaged("was truncated while it was read")

    def _damaged(self, what: str) -> DataError:
        return DataError(
            f"{self.path} {what}: restore it, or run `agecli prepare ... --force` again"
        )


class PixelFile:
    """The images while being written: any row, in any order, from any process.

    Plain reads and writes, not a memory map, keep the process's memory constant.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.path, self.count, self.size = folder / IMAGES, count, size
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        with self.path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            self.offset = file.tell()
            file.truncate(self.offset + count * self.row_bytes)

    @property
    def row_bytes(self) -> int:
        """Return the bytes of an image."""
        return self.size * self.size * 3

    @contextmanager
    def writer(self) -> Iterator[Write]:
        """Return, within a context, a function that writes an image to its row."""
        with self.path.open("r+b") as file:

            def write(row: int, image: Image.Image, data: bytes | None = None) -> None:
                file.seek(self.offset + row * self.row_bytes)
                file.write(np.ascontiguousarray(image).data)
                file.flush()  # the next image may crash this process

            yield write

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Return, within a context, a function that reads an image back."""
        with self.path.open("rb") as file:

            def read(row: int) -> NDArray[np.uint8]:
                file.seek(self.offset + row * self.row_bytes)
                pixels = np.frombuffer(file.read(self.row_bytes), dtype=np.uint8)
                return pixels.reshape(self.size, self.size, 3)

            yield read

    def finish(self) -> None:
        """Do nothing: the file is complete."""


class PixelImages(Images):
    """Images stored as pixels in their file, from an offset on."""

    def __init__(self, path: Path, offset: int, count: int, size: int) -> None:
        super().__init__(path, count, size)
        self.offset = offset

    def _read(self, row: int, image: NDArray[np.uint8]) -> None:
        self._fill(image.data.cast("B"), self.offset + row * image.nbytes)


def open_pixels(folder: Path, count: int) -> PixelImages:
    """Open images (count, S, S, 3). Raises ValueError for any other array."""
    path = folder / IMAGES
    images = map_array(path)
    side = images.shape[1] if images.ndim == 4 else 0
    if not side or images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise ValueError("not an array of 8-bit images in C order")
    if images.shape != (count, side, side, 3):
        raise ValueError(f"images of shape {images.shape}, where the manifest has {count} rows")
    if path.stat().st_size != images.offset + images.nbytes:
        raise ValueError(f"{path.stat().st_size} bytes, not as many as its header says")
    return PixelImages(path, images.offset, count, side)


def map_array(path: Path) -> np.memmap:
    """Map an array in a .npy file. Raises ValueError for any other file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers written by Python 2
            array = np.load(path, mmap_mode="r")
    except Exception as error:  # NumPy can raise anything for a broken header
        raise ValueError(f"not a NumPy array: {error}") from error
    if not isinstance(array, np.memmap):
        raise ValueError("several NumPy arrays, not one")
    return array
