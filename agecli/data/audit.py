"""Find pictures that are the same: byte for byte, or nearly so, and whether their ages agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray
from agecli.data import dhash, patches


class Measure(Protocol):
    """How near duplicates are found: a module, `dhash` or `patches`."""

    FINGERPRINT: np.dtype
    """What `fingerprint` returns."""

    def fingerprint(self, image: Image.Image) -> np.ndarray:
        """Take the fingerprint of an RGB picture."""

    def near_pairs(self, prints: np.ndarray) -> IntArray:
        """Find the pairs, sorted (M, 2), that may be copies."""

    def is_copy(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
        """Return whether the pixels of such a pair say so, too."""


MEASURES: dict[int, Measure] = {1: dhash, 2: patches}
"""By the number that `prepare --audit` takes: a split can be made again by the measure it had."""


def find_clusters(
    digests: list[str],
    prints: np.ndarray,
    read: Callable[[int], NDArray[np.uint8]],
    measure: Measure,
) -> IntArray:
    """Number the clusters of pictures that are the same, in order of their first picture.

    digests: sha256 of the files; equal ones are the same. prints: those that are near are
    confirmed on the pixels that `read` gives for a row, so that two different faces are not
    merged. Returns (N,) cluster numbers.
    """
    parent = list(range(len(digests)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for row, digest in enumerate(digests):
        parent[row] = first.setdefault(digest, row)
    unique = list(first.values())
    for pair in measure.near_pairs(prints[unique]).tolist():
        # By content, since `is_copy` may answer otherwise for b and a: names decide on nothing.
        a, b = sorted((unique[i] for i in pair), key=digests.__getitem__)
        i, j = sorted((root(a), root(b)))
        if i != j and measure.is_copy(read(a), read(b)):
            parent[j] = i
    roots = np.array([root(i) for i in range(len(digests))], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1]


def age_spans(clusters: IntArray, ages: IntArray) -> IntArray:
    """Compute the years that part the ages of each picture's cluster: 0 where all may be true.

    clusters: (N,); ages: (N, 2), first and last years of the labels; returns (N,).
    """
    first = np.full(clusters.max(initial=-1) + 1, np.iinfo(ages.dtype).max, ages.dtype)
    last = np.full_like(first, -1)
    np.minimum.at(first, clusters, ages[:, 1])
    np.maximum.at(last, clusters, ages[:, 0])
    return np.maximum(last - first, 0)[clusters]
