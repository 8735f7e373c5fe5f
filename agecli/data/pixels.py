"""Images on disk until a row is asked for; and kept there as pixels, in images.npy."""

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
"""Takes a row, and returns its image (size, size, 3)."""
Write = Callable[[int, Image.Image, bytes | None], None]
"""Takes a row, its image (RGB, size × size), and the file whose picture is just that, if any."""


class Images(ABC):
    """The images (N, S, S, 3) of a data set, uint8: they stay on disk until a row is asked for.

    Plain reads, since a memory map kills the process where its file is cut. Numpy takes it for an
    array: `np.take`, rows by number, slice or array, or all as `np.asarray`.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.path, self.shape = path, (count, size, size, 3)
        binary = getattr(os, "O_BINARY", 0)  # of Windows
        self.file = os.open(path, os.O_RDONLY | binary)  # the same whatever then has its name
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

        Raises DataError where the file does not have them any more.
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
        """Fill bytes from a place of the file. Raises DataError where it does not have so many."""
        if hasattr(os, "preadv"):
            read = os.preadv(self.file, [target], place)
        else:
            with self.lock:  # Windows: threads share the file's one position
                os.lseek(self.file, place, os.SEEK_SET)
                data = os.read(self.file, len(target))
            target[: len(data)] = data
            read = len(data)
        if read != len(target):
            raise self._damaged("was cut while it was read")

    def _damaged(self, what: str) -> DataError:
        return DataError(
            f"{self.path} {what}: put it back, or run `agecli prepare ... --force` again"
        )


class PixelFile:
    """The images while they are written: any row, in any order, from any process.

    Plain reads and writes, not a memory map, keep what the process holds constant.
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
        """Count the bytes of an image."""
        return self.size * self.size * 3

    @contextmanager
    def writer(self) -> Iterator[Write]:
        """Open what writes an image to its row."""
        with self.path.open("r+b") as file:

            def write(row: int, image: Image.Image, data: bytes | None = None) -> None:
                file.seek(self.offset + row * self.row_bytes)
                file.write(np.ascontiguousarray(image).data)
                file.flush()  # the next picture may end this process

            yield write

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Open what reads an image back from its row."""
        with self.path.open("rb") as file:

            def read(row: int) -> NDArray[np.uint8]:
                file.seek(self.offset + row * self.row_bytes)
                pixels = np.frombuffer(file.read(self.row_bytes), dtype=np.uint8)
                return pixels.reshape(self.size, self.size, 3)

            yield read

    def finish(self) -> None:
        """Do nothing: the file is whole."""


class PixelImages(Images):
    """Images that lie in their file as they are, from a place on."""

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
        raise ValueError("no images of bytes, row by row")
    if images.shape != (count, side, side, 3):
        raise ValueError(f"images of shape {images.shape}, where the manifest has {count} rows")
    if path.stat().st_size != images.offset + images.nbytes:
        raise ValueError(f"{path.stat().st_size} bytes, not those of its header")
    return PixelImages(path, images.offset, count, side)


def map_array(path: Path) -> np.memmap:
    """Map an array in a file of numpy's. Raises ValueError for any other file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            array = np.load(path, mmap_mode="r")
    except Exception as error:  # whatever numpy makes of a header that is none
        raise ValueError(f"no array of numpy: {error}") from error
    if not isinstance(array, np.memmap):
        raise ValueError("no array of numpy, but several")
    return array
