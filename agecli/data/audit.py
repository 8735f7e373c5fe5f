"""Find pictures that are the same: byte for byte, or nearly so, and whether their ages agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_DISTANCE = 6
"""Most differing bits, of 64, between the perceptual hashes of near duplicates."""
PIXEL_DIFFERENCE = 12
"""Largest mean difference of near duplicates' pixels, of 255, at 112 px."""
_CONFIRM_SIZE = 112
_BLOCK = 2**20  # comparisons at a time
_PAIRS = 2**14

IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a picture to find its like: bits, and a thumbnail of 8×8 mean colours."""

    bits: int
    """64 bits: whether each of 8×8 grey cells is brighter than its left neighbour (dHash)."""
    thumbnail: bytes


def fingerprint(image: Image.Image) -> Fingerprint:
    """Take a picture's fingerprint."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR))
    bits = int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")
    return Fingerprint(bits, image.resize((8, 8), Image.Resampling.BOX).tobytes())


def find_clusters(
    digests: list[str], prints: list[Fingerprint], read: Callable[[int], NDArray[np.uint8]]
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
    for pair in near_pairs([prints[row] for row in unique]).tolist():
        a, b = (unique[i] for i in pair)
        i, j = sorted((root(a), root(b)))
        if i != j and _same_pixels(read(a), read(b)):
            parent[j] = i
    roots = np.array([root(i) for i in range(len(digests))], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1]


def near_pairs(prints: list[Fingerprint]) -> IntArray:
    """Find the pairs whose bits differ in at most HASH_DISTANCE and whose thumbnails are close.

    Of HASH_DISTANCE + 1 bands of bits, two such hashes share at least one whole: only hashes that
    share a band are compared (Norouzi et al. 2012), a bounded block at a time. The difference of
    thumbnails is at most that of the pictures, so the sieve loses nothing. Returns sorted (M, 2).
    """
    bits = np.array([item.bits for item in prints], dtype=np.uint64)
    thumbs = np.frombuffer(b"".join(item.thumbnail for item in prints), dtype=np.uint8)
    thumbs = thumbs.reshape(len(prints), -1)
    edges = np.linspace(0, 64, HASH_DISTANCE + 2).astype(int)
    found = [np.empty((0, 2), dtype=np.int64)]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        key = (bits >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(key, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            step = max(1, _BLOCK // len(bucket))
            for start in range(0, len(bucket) - 1, step):
                others = bucket[start:]
                apart = np.bitwise_count(bits[others[:step], None] ^ bits[None, others])
                a, b = np.nonzero(np.triu(apart <= HASH_DISTANCE, 1))
                pairs = np.stack([others[a], others[b]], axis=1)
                found.extend(_close(thumbs, pairs[i : i + _PAIRS]) for i in range(0, len(pairs), _PAIRS))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def _close(thumbs: NDArray[np.uint8], pairs: IntArray) -> IntArray:
    difference = np.abs(thumbs[pairs[:, 0]].astype(np.int16) - thumbs[pairs[:, 1]])
    return pairs[difference.mean(axis=1) < PIXEL_DIFFERENCE + 1]  # + 1 for rounding


def age_spans(clusters: IntArray, ages: IntArray) -> IntArray:
    """Give each picture the years between the youngest and the oldest age of its cluster."""
    low = np.full(clusters.max(initial=-1) + 1, np.iinfo(np.int64).max)
    high = np.full_like(low, -1)
    np.minimum.at(low, clusters, ages)
    np.maximum.at(high, clusters, ages)
    return (high - low)[clusters]


def _same_pixels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    side = (_CONFIRM_SIZE, _CONFIRM_SIZE)
    small = [
        np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BILINEAR), dtype=np.int16)
        for image in (a, b)
    ]
    return bool(np.abs(small[0] - small[1]).mean() < PIXEL_DIFFERENCE)
