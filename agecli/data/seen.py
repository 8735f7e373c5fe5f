"""Images that a model has seen: fingerprints that recognise them and near copies.

240 bits: the signs of sums of the outlines of 16×16 greys (`patches.outlines`), each added or
subtracted by fixed random bits (Charikar 2002). All decisions are made on integers, or one
rounding of integers, so that every machine decides alike. On UTKFace, fingerprints of JPEG
(quality 70), 90 % scale, grey and 10 % brighter copies differ from the image's by at most 14 bits
in 99 of 100; those of a test image and of any training image by 31 or more.
"""

from __future__ import annotations

from functools import cache
from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray
from agecli.data.patches import outlines
from agecli.data.store import Dataset

VERSION = 1
"""Version of the fingerprints: different versions cannot be compared."""
BYTES = 30
"""Bytes of a fingerprint."""
NEAR = 24
"""Most bits by which the fingerprints of near copies differ."""

_SIDE = 16
_OUTLINES = 2 * _SIDE * (_SIDE - 1)
_BLOCK = 256

Prints = NDArray[np.uint8]
"""Fingerprints (N, BYTES)."""


def fingerprints(images: NDArray[np.uint8]) -> Prints:
    """Compute the fingerprints (N, BYTES) of crops (N, S, S, 3) of any side."""
    greys = np.empty((len(images), _SIDE, _SIDE), dtype=np.uint8)
    for grey, image in zip(greys, images, strict=True):
        small = Image.fromarray(image).convert("L").resize(grey.shape, Image.Resampling.BILINEAR)
        grey[:] = np.asarray(small)
    sums = outlines(greys).astype(np.float32) @ _signs()  # below 2^24: exact in any order
    return np.packbits(sums > 0, axis=1)


@cache
def _signs() -> NDArray[np.float32]:
    """Return the signs 1 and -1 (OUTLINES, bits) with which outlines are summed."""
    stream = shake_256(b"agecli").digest(_OUTLINES * BYTES)
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8)).reshape(_OUTLINES, -1)
    return np.where(bits, 1, -1).astype(np.float32)


def fingerprints_of(dataset: Dataset, rows: IntArray) -> Prints:
    """Compute the fingerprints (N, BYTES) of the images of rows (N,) of a data set."""
    blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
    prints = [fingerprints(np.take(dataset.images, block, axis=0)) for block in blocks]
    return np.concatenate([np.empty((0, BYTES), dtype=np.uint8), *prints])


def merge(*parts: Prints) -> Prints:
    """Merge fingerprints, each once, in an order that does not reveal their origin."""
    return np.unique(np.concatenate(parts), axis=0)


class Seen:
    """The fingerprints (N, BYTES) of the images that a model has seen."""

    def __init__(self, prints: Prints) -> None:
        self._words = np.ascontiguousarray(_words(prints).T)  # (words, N): fast to scan

    def knows(self, prints: Prints) -> NDArray[np.bool_]:
        """Return the mask (N,) of fingerprints (N, BYTES) of images seen, or of near copies."""
        return np.array([self._knows(one) for one in _words(prints)], dtype=bool)

    def _knows(self, one: NDArray[np.uint64]) -> bool:
        """Return whether a fingerprint (words,) is near any; half its bits exclude most others."""
        words = self._words
        bits = np.bitwise_count(words[0] ^ one[0]) + np.bitwise_count(words[1] ^ one[1])  # (N,)
        near = np.flatnonzero(bits <= NEAR)
        rest = np.bitwise_count(words[2:, near] ^ one[2:, None]).sum(axis=0)
        return bool((bits[near] + rest <= NEAR).any())


def _words(prints: Prints) -> NDArray[np.uint64]:
    """Pad fingerprints to words of 64 bits: (N, 4)."""
    return np.pad(prints, ((0, 0), (0, -BYTES % 8))).view(np.uint64)
