"""Sort items on disk, in the memory of some thousands."""

from __future__ import annotations

import heapq
import marshal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_RUN, _PART = 2**12, 16
"""Items sorted in memory, and items read at a time."""


class SortedItems:
    """Tuples of texts and integers, sorted, which can be iterated repeatedly.

    Sorted runs lie one after another in a file, and are merged when read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run: list[tuple[Any, ...]] = []
        self._runs: list[tuple[int, int]] = []  # offset in the file, and parts
        self._count = 0

    def add(self, item: tuple[Any, ...]) -> None:
        """Add an item."""
        self._run.append(item)
        self._count += 1
        if len(self._run) == _RUN:
            self._write_run()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self._run:
            self._write_run()
        return heapq.merge(*(self._read_run(place, parts) for place, parts in self._runs))

    def _write_run(self) -> None:
        self._run.sort()
        with self.path.open("ab") as file:
            self._runs.append((file.tell(), -(-len(self._run) // _PART)))
            for start in range(0, len(self._run), _PART):
                marshal.dump(self._run[start : start + _PART], file)
        self._run = []

    def _read_run(self, place: int, parts: int) -> Iterator[tuple[Any, ...]]:
        with self.path.open("rb") as file:
            file.seek(place)
            for _ in range(parts):
                yield from marshal.load(file)
