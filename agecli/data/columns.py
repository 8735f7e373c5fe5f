"""Columns of values per image in a file, of which rows are read and written in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_BLOCK = 1024


class Column:
    """A column of `dtype` in a file, a value per image, initially zeros; shared by processes.

    Plain reads and writes, not a memory map, keep a process's memory constant.
    """

    def __init__(self, path: Path, dtype: np.dtype, count: int) -> None:
        self.path, self.dtype, self.count = path, dtype, count
        with path.open("wb") as file:
            file.truncate(count * dtype.itemsize)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> np.ndarray:
        begin, end, _ = rows.indices(self.count)
        with self.path.open("rb") as file:
            return np.fromfile(
                file, self.dtype, max(0, end - begin), offset=begin * self.dtype.itemsize
            )

    @contextmanager
    def opened(self) -> Iterator[Rows]:
        """Open the file for many reads of one or several rows."""
        with self.path.open("rb") as file:
            yield Rows(file, self.dtype, self.count)

    def __setitem__(self, row: int, values: Any) -> None:
        """Write one value, or several from a row on."""
        with self.path.open("r+b", buffering=0) as file:
            file.seek(row * self.dtype.itemsize)
            file.write(np.asarray(values, self.dtype.base).tobytes())


class Rows:
    """The rows of a column, read from its open file, indexed like an array."""

    def __init__(self, file: BinaryIO, dtype: np.dtype, count: int) -> None:
        self._file, self._dtype, self._count = file, dtype, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self._count, _BLOCK):
            yield from self[start : start + _BLOCK]

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        first, last = (rows, rows + 1) if isinstance(rows, int) else rows.indices(self._count)[:2]
        self._file.seek(first * self._dtype.itemsize)
        content = self._file.read(max(0, last - first) * self._dtype.itemsize)
        values = np.frombuffer(content, self._dtype.base).reshape(-1, *self._dtype.shape)
        return values[0] if isinstance(rows, int) else values
