"""Near duplicates by dHash and colours (`--audit 1`): copies of another size or compression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray

if TYPE_CHECKING:
    from agecli.data.columns import Column as Traces

HASH_DISTANCE = 6
"""Most differing bits, of 64, between the perceptual hashes of near duplicates."""
PIXEL_DIFFERENCE = 12
"""Largest mean difference of near duplicates' pixels, of 255, at 112 px."""
_CONFIRM_SIZE = 112
_BLOCK = 2**20  # comparisons at a time
_PAIRS = 2**14

TRACE = np.dtype([("bits", np.uint64), ("thumbnail", np.uint8, (8, 8, 3)), ("known", bool)])
"""Kept of an image to find near duplicates: whether each of 8×8 grey cells is brighter than its
left neighbour (dHash), and the 8×8 mean colours."""


def fingerprint(image: Image.Image) -> np.ndarray:
    """Compute the fingerprint of an RGB image."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR))
    bits = np.packbits(grey[:, 1:] > grey[:, :-1]).view(np.uint64)[0]
    thumbnail = image.resize(
        (8, 8), Image.Resampling.BOX, reducing_gap=1
    )  # the gap: twice the speed
    return np.array((bits, thumbnail, True), dtype=TRACE)


def traces(prints: np.ndarray) -> np.ndarray:
    """Return the fingerprints (N,), which are compared as they are."""
    return prints


def parts(count: int) -> range:
    """Divide the search by HASH_DISTANCE + 1 bands of bits: near hashes share at least one."""
    return range(HASH_DISTANCE + 1)


def near_pairs(traces: Traces, part: int) -> IntArray:
    """Return the pairs with close thumbnails whose bits differ in at most HASH_DISTANCE.

    Only hashes that share a whole band, the part, are compared (Norouzi et al. 2012), a bounded
    block at a time. The difference of thumbnails is at most that of the images, so the sieve
    loses nothing. Zeros match nothing. Returns (M, 2), the lower row first.
    """
    everything = traces[:]
    bits, thumbs = everything["bits"], everything["thumbnail"]
    low, high = np.linspace(0, 64, HASH_DISTANCE + 2).astype(int).tolist()[part : part + 2]
    found: list[IntArray] = [np.empty((0, 2), dtype=np.int64)]
    key = (bits >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
    order = np.argsort(key, kind="stable")
    order = order[everything["known"][order]]
    for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        step = max(1, _BLOCK // max(1, len(bucket)))
        for start in range(0, len(bucket) - 1, step):
            others = bucket[start:]
            apart = np.bitwise_count(bits[others[:step], None] ^ bits[None, others])
            a, b = np.nonzero(np.triu(apart <= HASH_DISTANCE, 1))
            pairs = np.stack([others[a], others[b]], axis=1)
            for some in range(0, len(pairs), _PAIRS):
                found.append(_close(thumbs, pairs[some : some + _PAIRS]))
    return np.concatenate(found)


def _close(thumbs: NDArray[np.uint8], pairs: IntArray) -> IntArray:
    difference = np.abs(thumbs[pairs[:, 0]].astype(np.int16) - thumbs[pairs[:, 1]])
    return pairs[difference.mean(axis=(1, 2, 3)) < PIXEL_DIFFERENCE + 1]  # + 1 for rounding


def is_copy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether two images (S, S, 3) differ little, pixel by pixel."""
    side = (_CONFIRM_SIZE, _CONFIRM_SIZE)
    small = [
        np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BILINEAR), dtype=np.int16)
        for image in (a, b)
    ]
    return bool(np.abs(small[0] - small[1]).mean() < PIXEL_DIFFERENCE)
