"""What is known of each image, in a file: rows are read and written where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Column:
    """A column of `dtype` in a file, a value per image, zeros at first; shared by processes.

    Plain reads and writes, not a memory map, keep what a process holds constant.
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

    def mapped(self) -> np.ndarray:
        """Map all rows into memory: what is not in use, the system may drop and read again."""
        return np.memmap(
            self.path, self.dtype.base, mode="r", shape=(self.count, *self.dtype.shape)
        )

    def __setitem__(self, row: int, values: Any) -> None:
        """Write one value, or several from this row on."""
        with self.path.open("r+b", buffering=0) as file:
            file.seek(row * self.dtype.itemsize)
            file.write(np.asarray(values, self.dtype.base).tobytes())
