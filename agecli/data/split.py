"""Assign clusters of pictures to train, validation and test, by content and seed."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
HELD_OUT = 0.1
"""Share of the images in each of test and validation."""


def assign_splits(
    clusters: NDArray[np.integer], groups: NDArray[np.integer], digests: list[str], seed: int
) -> list[str]:
    """Assign each image to a split: clusters stay whole, each group is shared out 80/10/10.

    clusters, groups: (N,) numbers; a cluster counts for its most frequent group. The order in
    which clusters are dealt is a hash of the seed and the cluster's smallest sha256, so that
    neither file names nor their order matter.
    """
    members: dict[int, list[int]] = {}
    for row, cluster in enumerate(clusters.tolist()):
        members.setdefault(cluster, []).append(row)
    strata: dict[int, list[tuple[bytes, list[int]]]] = {}
    for rows in members.values():
        values, counts = np.unique(groups[rows], return_counts=True)
        key = min(digests[row] for row in rows)
        order = sha256(f"{seed}:{key}".encode()).digest()
        strata.setdefault(int(values[counts.argmax()]), []).append((order, rows))
    splits = [""] * len(digests)
    for stratum in strata.values():
        total, dealt = sum(len(rows) for _, rows in stratum), 0
        for _, rows in sorted(stratum):
            share = dealt / total
            split = "test" if share < HELD_OUT else "val" if share < 2 * HELD_OUT else "train"
            for row in rows:
                splits[row] = split
            dealt += len(rows)
    return splits


def join_persons(clusters: NDArray[np.integer], persons: list[str]) -> NDArray[np.integer]:
    """Join the clusters that show the same person; an empty text is nobody.

    clusters: (N,); returns (N,) numbers, equal for what must not be parted.
    """
    first: dict[str, int] = {}
    parent = {cluster: cluster for cluster in clusters.tolist()}

    def root(cluster: int) -> int:
        while parent[cluster] != cluster:
            parent[cluster] = parent[parent[cluster]]
            cluster = parent[cluster]
        return cluster

    for cluster, person in zip(clusters.tolist(), persons, strict=True):
        if person:
            one, other = root(cluster), root(first.setdefault(person, cluster))
            parent[max(one, other)] = min(one, other)
    return np.array([root(cluster) for cluster in clusters.tolist()], dtype=np.int64)


def straddling(clusters: NDArray[np.integer], splits: list[str]) -> list[str]:
    """Name for each image the split that its cluster is in, too, and that it must not leak into.

    That is where splits come with the data: test before val before train. Returns "" for most.
    """
    strictest: dict[int, int] = {}
    order = {split: place for place, split in enumerate(SPLITS)}
    for cluster, split in zip(clusters.tolist(), splits, strict=True):
        strictest[cluster] = max(strictest.get(cluster, 0), order[split])
    return [
        SPLITS[strictest[cluster]] if strictest[cluster] > order[split] else ""
        for cluster, split in zip(clusters.tolist(), splits, strict=True)
    ]


def split_hash(digests: list[str], splits: list[str]) -> str:
    """Hash the sorted (sha256, split) pairs: equal hashes mean that results are comparable."""
    lines = [f"{digest} {split}" for digest, split in zip(digests, splits, strict=True)]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
