"""The images of a data set, on disk until a row is asked for."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.errors import DataError


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


class PixelImages(Images):
    """Images that lie in their file as they are, from a place on."""

    def __init__(self, path: Path, offset: int, count: int, size: int) -> None:
        super().__init__(path, count, size)
        self.offset = offset

    def _read(self, row: int, image: NDArray[np.uint8]) -> None:
        self._fill(image.data.cast("B"), self.offset + row * image.nbytes)
