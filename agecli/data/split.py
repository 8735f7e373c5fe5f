"""Assign families of images to train, validation and test, or to folds, by content and seed."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from agecli.data.columns import Rows

Array = NDArray[np.integer]

Digests = NDArray[np.uint8] | Rows
"""(N, 32), in memory or in a file."""

SPLITS = ("train", "val", "test")
"""From the least to the most strict: an image in two of them belongs to the later one."""
TRAIN, VAL, TEST = range(3)
_BLOCK = 2**16
HELD_OUT = 0.1
"""Share of the images in each of test and validation."""


@dataclass(frozen=True)
class Families:
    """Families of images, which are never divided: clusters, or all clusters of one person."""

    rows: Array
    """(N,) rows of the images, family by family."""
    starts: Array
    """(F + 1,) indices in `rows` at which the families start, and its end."""
    groups: Array
    """(F,) most frequent age group of each family."""
    digests: Digests
    """SHA-256 of each image's file, by row."""
    seed: int

    @classmethod
    def of(
        cls, rows: Array, families: Array, groups: Array, digests: Digests, seed: int
    ) -> Families:
        """Gather the images of rows (N,); the other arrays cover all images of the data set."""
        rows = rows[np.argsort(families[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(families[rows], prepend=-1, append=-1)).astype(np.int32)
        most = groups[rows[starts[:-1]]]
        for family in np.flatnonzero(np.diff(starts) > 1):
            values, counts = np.unique(
                groups[rows[starts[family] : starts[family + 1]]], return_counts=True
            )
            most[family] = values[counts.argmax()]
        return cls(rows, starts, most, digests, seed)

    @property
    def sizes(self) -> Array:
        """Return the number of images (F,) of each family."""
        return np.diff(self.starts)

    def strata(self) -> Iterator[Array]:
        """Yield the families (f,) of each age group, in the order in which they are dealt."""
        for group in np.unique(self.groups):
            yield self.ordered(np.flatnonzero(self.groups == group))

    def ordered(self, some: Array) -> Array:
        """Return some families (f,) in the order in which they are dealt.

        The order is a hash of the seed and the smallest sha256, so that neither file names nor
        their order matter.
        """
        keys = np.fromiter(map(self._key, some), "S16", len(some))
        return some[np.argsort(keys, kind="stable")]

    def _key(self, family: int) -> bytes:
        members = self.rows[self.starts[family] : self.starts[family + 1]]
        digest = min(self.digests[row].tobytes() for row in members.tolist())
        return sha256(f"{self.seed}:{digest.hex()}".encode()).digest()[:16]

    def per_image(self, places: Array) -> Array:
        """Return the value in (F,) of the family of each of `rows`."""
        return np.repeat(places, self.sizes)


def hold_out(families: Families, held: Sequence[int]) -> Array:
    """Deal a tenth of each age group's images to each of the splits `held`, the rest to train.

    Families too large for a tenth of their group are dealt with the large ones of other groups;
    of those too large even there, the smallest fill splits that are still empty. Returns (F,).
    """
    splits, sizes = np.full(len(families.groups), TRAIN, np.int8), families.sizes
    large = [_fill(splits, sizes, stratum, held) for stratum in families.strata()]
    pool = families.ordered(np.concatenate(large)) if large else np.empty(0, np.intp)
    largest = _fill(splits, sizes, pool, held)
    spare = iter(largest[np.argsort(sizes[largest], kind="stable")][:-1])
    for split in held:
        if split not in splits and (family := next(spare, None)) is not None:
            splits[family] = split
    return splits


def _fill(splits: Array, sizes: Array, stratum: Array, held: Sequence[int]) -> Array:
    """Deal a stratum's families; return those that would overshoot by half a split's share."""
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

    Large ones first, each to the fold with the fewest images of its group. Returns (F,).
    """
    folds, sizes = np.full(len(families.groups), -1, np.int32), families.sizes
    totals = [0] * count
    for stratum in families.strata():
        heap = [(0, total, fold) for fold, total in enumerate(totals)]
        heapq.heapify(heap)
        for family in stratum[np.argsort(-sizes[stratum], kind="stable")]:
            own, total, fold = heap[0]
            size = int(sizes[family])
            heapq.heapreplace(heap, (own + size, total + size, fold))
            folds[family] = fold
        totals = [total for _, total, _ in sorted(heap, key=lambda item: item[2])]
    return folds


def join_persons(clusters: Array, persons: Array) -> Array:
    """Join the clusters of the same person into families.

    clusters: (N,), -1 for none. persons: (N,) numbers, -1 for unknown. Returns (N,) numbers, equal
    within a family; -1 stays.
    """
    parent = array("i", range(int(clusters.max(initial=-1)) + 1))

    def root(cluster: int) -> int:
        while parent[cluster] != cluster:
            parent[cluster] = parent[parent[cluster]]
            cluster = parent[cluster]
        return cluster

    shown = array("i", [-1]) * (int(persons.max(initial=-1)) + 1)
    for row in np.flatnonzero((persons >= 0) & (clusters >= 0)):
        person, cluster = int(persons[row]), int(clusters[row])
        if shown[person] < 0:
            shown[person] = cluster
        one, other = root(cluster), root(shown[person])
        parent[max(one, other)] = min(one, other)
    roots = np.fromiter(chain(map(root, range(len(parent))), [-1]), np.int32, len(parent) + 1)
    return roots[clusters]  # of -1, the last


def split_hash_of(digests: Digests, splits: Array) -> str:
    """Compute `split_hash` of digests (N, 32) and indices of SPLITS (N,), in constant memory."""
    firsts = np.concatenate(
        [digests[start : start + _BLOCK][:, 0] for start in range(0, len(digests), _BLOCK)]
    )
    hashed, separator = sha256(), b""
    for byte in range(256):
        rows = np.flatnonzero((firsts == byte) & (splits >= 0)).tolist()
        for line in sorted(f"{digests[row].tobytes().hex()} {SPLITS[splits[row]]}" for row in rows):
            hashed.update(separator + line.encode())
            separator = b"\n"
    return hashed.hexdigest()


def split_hash(digests: list[str], splits: list[str]) -> str:
    """Hash the sorted (sha256, split) pairs: results are comparable if the hashes are equal."""
    lines = [f"{digest} {split}" for digest, split in zip(digests, splits, strict=True)]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
