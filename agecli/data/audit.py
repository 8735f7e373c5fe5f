"""Find duplicates and near duplicates, and whether their ages agree."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray
from agecli.data import dhash, patches
from agecli.data.columns import Column
from agecli.data.split import Digests
from agecli.data.workers import WorkerPool
from agecli.errors import AgecliError

if TYPE_CHECKING:
    from agecli.data.store import StoreFile

_PAIRS = 32  # that a worker checks at a time
_BLOCK = 2**16


Pairs = NDArray[np.integer]
"""(M, 2) pairs of rows that may be duplicates."""


class Measure(Protocol):
    """A way to find near duplicates: the module `dhash` or `patches`."""

    TRACE: np.dtype
    """Type of what is kept of an image to find near duplicates; zeros match nothing."""

    def fingerprint(self, image: Image.Image) -> np.ndarray:
        """Compute the fingerprint of an RGB image."""

    def traces(self, prints: np.ndarray) -> np.ndarray:
        """Compute the traces (N,) of fingerprints (N, ...)."""

    def parts(self, count: int) -> Iterable[Any]:
        """Divide the search among `count` traces into pieces of work."""

    def near_pairs(self, traces: Column, part: Any) -> Pairs:
        """Return the pairs of one part that may be duplicates, the lower row first."""

    def is_copy(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
        """Return whether the pixels of such a pair confirm it."""


MEASURES: dict[int, Measure] = {1: dhash, 2: patches}
"""By the number that `prepare --audit` takes, so that an old split can be reproduced."""


def find_clusters(
    digests: Digests, usable: NDArray[np.bool_], traces: Column, images: StoreFile,
    measure: Measure, pool: WorkerPool,
) -> IntArray:  # fmt: skip
    """Number the clusters of duplicates, in order of their first image.

    digests: (N, 32) SHA-256 of the files; equal ones are duplicates. Near traces are
    confirmed by the pixels of `images`, so that two different faces are not merged. Returns (N,)
    cluster numbers, -1 for an unusable image. Traces of unusable images are overwritten.
    """
    joined = array("i", range(len(digests)))
    for row, first in _equal(digests, usable):
        joined[row] = first
        traces[row] = np.zeros((), traces.dtype)

    def root(row: int) -> int:
        while joined[row] != row:
            joined[row] = joined[joined[row]]
            row = joined[row]
        return row

    def candidates() -> Iterator[tuple[int, int]]:
        parts = ([part] for part in measure.parts(len(digests)))
        for pairs in pool.map(partial(_near_pairs, measure.near_pairs, traces), parts, _no_pairs):
            for a, b in pairs.tolist():
                if root(a) != root(b):
                    # Ordered by content, since `is_copy` is not symmetric.
                    yield (a, b) if digests[a].tobytes() < digests[b].tobytes() else (b, a)

    some = candidates()
    pieces = iter(lambda: list(islice(some, _PAIRS)), [])
    confirm = partial(_confirm, measure.is_copy, images)
    for a, b in filter(None, pool.map(confirm, pieces, _unconfirmed)):
        one, other = sorted((root(a), root(b)))
        joined[other] = one
    return _numbered(joined, root, usable)


def _equal(digests: Digests, usable: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield each usable row whose digest an earlier row shares, and the first such row."""
    repeated = repeated_heads(digests, usable)
    rows, heads = np.empty(0, np.int64), np.empty(0, np.uint64)
    for some, of_some in _heads(digests, usable):
        again = np.isin(of_some, repeated)
        rows, heads = np.append(rows, some[again]), np.append(heads, of_some[again])
    order = np.argsort(heads, kind="stable")
    for _, alike in groupby(order.tolist(), key=heads.__getitem__):
        firsts: dict[bytes, int] = {}
        for row in map(int, rows[[*alike]]):
            first = firsts.setdefault(digests[row].tobytes(), row)
            if first != row:
                yield row, first


def repeated_heads(digests: Digests, usable: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return, each once, the first 8 bytes that several usable digests (N, 32) share.

    They tell files apart, except for forged ones.
    """
    heads, known = np.empty(np.count_nonzero(usable), np.uint64), 0
    for _, some in _heads(digests, usable):
        heads[known : known + len(some)] = some
        known += len(some)
    heads.sort()
    return np.unique(heads[1:][heads[1:] == heads[:-1]])


def _heads(
    digests: Digests, usable: NDArray[np.bool_]
) -> Iterator[tuple[IntArray, NDArray[np.uint64]]]:
    """Yield usable rows, a block at a time, and the first 8 bytes of their digests."""
    for start in range(0, len(digests), _BLOCK):
        rows = np.flatnonzero(usable[start : start + _BLOCK])
        heads = np.ascontiguousarray(digests[start : start + _BLOCK][rows, :8])
        yield rows + start, heads.view(np.uint64)[:, 0]


def _near_pairs(
    search: Callable[[Column, Any], Pairs], traces: Column, parts: Sequence[Any]
) -> Iterator[Pairs]:
    """Search parts, in a worker process."""
    return (search(traces, part).astype(np.int32) for part in parts)


def _confirm(
    is_copy: Callable[..., bool], images: StoreFile, pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int] | None]:
    """Compare the pixels of pairs, in a worker process."""
    with images.reader() as read:
        for a, b in pairs:
            yield (a, b) if is_copy(read(a), read(b)) else None


def _no_pairs(part: Any, reason: str) -> Pairs:
    raise AgecliError(f"The search for duplicates failed ({reason}): use fewer --workers")


def _unconfirmed(pair: tuple[int, int], reason: str) -> None:
    raise AgecliError(f"The search for duplicates failed ({reason}): use fewer --workers")


def _numbered(
    joined: Sequence[int], root: Callable[[int], int], usable: NDArray[np.bool_]
) -> IntArray:
    clusters = np.full(len(joined), -1, np.int32)
    known = 0
    for row in np.flatnonzero(usable):
        first = root(int(row))
        if first == row:
            clusters[row], known = known, known + 1
        else:
            clusters[row] = clusters[first]
    return clusters


def age_spans(clusters: IntArray, ages: IntArray) -> IntArray:
    """Compute the years between the ages in each image's cluster: 0 if all can be true.

    clusters: (N,); ages: (N, 2), first and last years of the labels; returns (N,).
    """
    first = np.full(clusters.max(initial=-1) + 1, np.iinfo(ages.dtype).max, ages.dtype)
    last = np.full_like(first, -1)
    np.minimum.at(first, clusters, ages[:, 1])
    np.maximum.at(last, clusters, ages[:, 0])
    return np.maximum(last - first, 0)[clusters]
