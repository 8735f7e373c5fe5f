"""Deal what must stay together to train, validation and test, or to folds, by content and seed."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.integer]

SPLITS = ("train", "val", "test")
"""From the least to the most strict: what belongs to two of them belongs to the later one."""
TRAIN, VAL, TEST = range(3)
HELD_OUT = 0.1
"""Share of the images in each of test and validation."""


@dataclass(frozen=True)
class Families:
    """Images by what is dealt whole: clusters, or all clusters that show one person."""

    rows: Array
    """(N,) of the images, family by family."""
    sizes: Array
    """(F,) images of each family."""
    groups: Array
    """(F,) the most frequent age group of each."""
    keys: NDArray[np.bytes_]
    """(F,) by which they are ordered: a hash of the seed and the family's smallest sha256, so that
    neither file names nor their order matter."""

    @classmethod
    def of(
        cls, rows: Array, families: Array, groups: Array, digests: NDArray[np.uint8], seed: int
    ) -> Families:
        """Gather the images of rows (n,); the other arrays are of all images: (N,), (N, 32)."""
        rows = rows[np.argsort(families[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(families[rows], prepend=-1))
        sizes = np.diff(starts, append=len(rows))
        first, most = rows[starts], groups[rows[starts]]
        for family in np.flatnonzero(sizes > 1):
            members = rows[starts[family] : starts[family] + sizes[family]]
            values, counts = np.unique(groups[members], return_counts=True)
            most[family] = values[counts.argmax()]
            first[family] = min(members, key=lambda row: digests[row].tobytes())
        hashes = (
            sha256(f"{seed}:{digests[row].tobytes().hex()}".encode()).digest()[:16] for row in first
        )
        return cls(rows, sizes, most, np.fromiter(hashes, "S16", len(first)))

    def strata(self) -> Iterator[Array]:
        """Yield the families (f,) of each age group, in the order in which they are dealt."""
        for group in np.unique(self.groups):
            yield self.ordered(np.flatnonzero(self.groups == group))

    def ordered(self, some: Array) -> Array:
        """Return some families (f,) in the order in which they are dealt."""
        return some[np.argsort(self.keys[some], kind="stable")]

    def per_image(self, places: Array) -> Array:
        """Return for each of `rows` what its family has of (F,)."""
        return np.repeat(places, self.sizes)


def hold_out(families: Families, held: Sequence[int]) -> Array:
    """Deal a tenth of the images of each age group to each of the splits `held`, the rest trains.

    Families too large for a tenth of their group are dealt with the large ones of the other groups;
    of those that are too large there, too, the smallest fill what has nothing at all. Returns (F,).
    """
    splits = np.full(len(families.sizes), TRAIN, np.int8)
    large = [_fill(splits, families.sizes, stratum, held) for stratum in families.strata()]
    pool = families.ordered(np.concatenate(large)) if large else np.empty(0, np.intp)
    largest = _fill(splits, families.sizes, pool, held)
    spare = iter(largest[np.argsort(families.sizes[largest], kind="stable")][:-1])
    for split in held:
        if split not in splits and (family := next(spare, None)) is not None:
            splits[family] = split
    return splits


def _fill(splits: Array, sizes: Array, stratum: Array, held: Sequence[int]) -> Array:
    """Deal a stratum's families; return those that would overshoot by half of a split's share."""
    total, dealt = int(sizes[stratum].sum()), 0
    borders = [HELD_OUT * (number + 1) for number in range(len(held))]
    large = []
    for family in stratum:
        size, place = int(sizes[family]), bisect_right(borders, dealt / total)
        if place == len(held):
            break
        if size > 1 and dealt + size > (borders[place] + HELD_OUT / 2) * total:
            large.append(family)
        else:
            splits[family] = held[place]
            dealt += size
    return np.array(large, dtype=np.intp)


def deal_folds(families: Families, count: int) -> Array:
    """Deal families to folds 0 to count - 1 of equal size, and equal in each age group.

    The large ones first, each to the fold that has least of its group. Returns (F,).
    """
    folds = np.full(len(families.sizes), -1, np.int32)
    totals = [0] * count
    for stratum in families.strata():
        heap = [(0, total, fold) for fold, total in enumerate(totals)]
        heapq.heapify(heap)
        for family in stratum[np.argsort(-families.sizes[stratum], kind="stable")]:
            own, total, fold = heap[0]
            size = int(families.sizes[family])
            heapq.heapreplace(heap, (own + size, total + size, fold))
            folds[family] = fold
        totals = [total for _, total, _ in sorted(heap, key=lambda item: item[2])]
    return folds


def join_persons(clusters: Array, persons: Array) -> Array:
    """Join the clusters that show the same person into families.

    clusters: (N,), -1 for none. persons: (N,) numbers, -1 for nobody. Returns (N,) numbers, equal
    for what must not be parted; -1 stays.
    """
    parent = array("q", range(int(clusters.max(initial=-1)) + 1))

    def root(cluster: int) -> int:
        while parent[cluster] != cluster:
            parent[cluster] = parent[parent[cluster]]
            cluster = parent[cluster]
        return cluster

    first: dict[int, int] = {}
    for row in np.flatnonzero((persons >= 0) & (clusters >= 0)):
        cluster = int(clusters[row])
        one, other = root(cluster), root(first.setdefault(int(persons[row]), cluster))
        parent[max(one, other)] = min(one, other)
    roots = np.fromiter(map(root, range(len(parent))), np.int64, len(parent))
    return np.where(clusters >= 0, roots[clusters], -1) if len(roots) else clusters


def split_hash(digests: list[str], splits: list[str]) -> str:
    """Hash the sorted (sha256, split) pairs: equal hashes mean that results are comparable."""
    lines = [f"{digest} {split}" for digest, split in zip(digests, splits, strict=True)]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
