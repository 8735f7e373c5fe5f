"""Near duplicates by grey patches (`--audit 2`): also grey, brighter, cropped or turned copies.

Whatever decides is a whole number, or one rounding of whole numbers: sums of whole numbers below
2^24 (float32) and 2^53 (float64) come out exact in any order, so that every machine, processor and
BLAS finds the same pairs, and the same split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray

NEAR = 0.75
"""Least correlation of the outlines of two pictures that are looked at more closely."""
LIKE = 0.80
"""Least mean correlation of the patches of near duplicates."""

_CELLS = 16
_LENGTH = 500  # of an outline; its square is far below 2^24
_BLOCK = 2048

_SIDE, _PATCH, _SHIFT = 48, 15, 4
_PLACES = (4, 16, 29)  # of three patches in a row, with room for the shift around them
_BLUR = 5

FINGERPRINT = np.dtype((np.uint8, (_CELLS, _CELLS)))
"""What is kept of a picture to find its like: the mean greys of 16×16 cells."""


def fingerprint(image: Image.Image) -> NDArray[np.uint8]:
    """Take the fingerprint of an RGB picture."""
    return _grey(image, _CELLS)


def near_pairs(prints: NDArray[np.uint8]) -> IntArray:
    """Find the pairs of pictures whose outlines correlate by NEAR or more.

    Everything is compared with everything, 2048 × 2048 pictures at a time. prints: (N, 16, 16).
    Returns sorted (M, 2).
    """
    least = NEAR * _LENGTH**2
    lines = np.concatenate(
        [np.empty((0, 2 * _CELLS * (_CELLS - 1)), dtype=np.int8)]
        + [outlines(prints[start : start + _BLOCK]) for start in range(0, len(prints), _BLOCK)]
    )
    found = [np.empty((0, 2), dtype=np.int64)]
    for low in range(0, len(lines), _BLOCK):
        rows = lines[low : low + _BLOCK].astype(np.float32)
        for start in range(low, len(lines), _BLOCK):
            products = rows @ lines[start : start + _BLOCK].astype(np.float32).T
            pairs = np.argwhere(products >= least) + np.array((low, start))
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def outlines(prints: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Compute what the light does from cell to cell, whatever its strength.

    Differences of neighbouring cells, cut at half their mean, so that many faint edges count for
    more than a few strong ones; then brought to one length. prints: (N, 16, 16); returns (N, 480).
    """
    grey = prints.astype(np.int64)
    steps = np.concatenate(
        [np.diff(grey, axis=axis).reshape(len(grey), 2 * _CELLS * (_CELLS - 1) // 2)
         for axis in (1, 2)],
        axis=1,
    )  # (N, 480)  # fmt: skip
    cut = np.abs(steps).sum(axis=1, keepdims=True)
    steps = np.clip(steps * (2 * steps.shape[1]), -cut, cut)
    length = np.sqrt((steps * steps).sum(axis=1, keepdims=True).astype(np.float64))
    scaled = np.rint(_LENGTH * steps / np.maximum(length, 1))
    return np.clip(scaled, -127, 127).astype(np.int8)


def is_copy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether the patches of a picture are found in another, each near its place.

    Of 3×3 patches of one picture's fine structure, each is looked for in the other, up to 4 of 48
    pixels away; what they correlate by there, on average, decides. a, b: (S, S, 3).
    """
    fine, other = _fine_structure(a), _fine_structure(b)
    windows = np.lib.stride_tricks.sliding_window_view(other, (_PATCH, _PATCH))
    powers = _sums(other * other, _PATCH)  # (34, 34), of each window
    total = 0
    for top in _PLACES:
        for left in _PLACES:
            patch = fine[top : top + _PATCH, left : left + _PATCH]
            near = np.s_[top - _SHIFT : top + _SHIFT + 1, left - _SHIFT : left + _SHIFT + 1]
            products = windows[near].reshape(-1, _PATCH**2) @ patch.ravel()  # (81,)
            power = powers[near].ravel() * (patch * patch).sum()
            total += int(np.max(1000 * products / np.sqrt(np.maximum(power, 1))))
    return total >= 1000 * LIKE * len(_PLACES) ** 2


def _fine_structure(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Subtract from each of 48×48 greys the mean around it; (48, 48), in whole numbers."""
    grey = _grey(Image.fromarray(image), _SIDE).astype(np.float64)
    return _BLUR**2 * grey - _sums(np.pad(grey, _BLUR // 2, mode="edge"), _BLUR)


def _sums(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sum up each square of values: (S, S) to (S - side + 1, S - side + 1)."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]


def _grey(image: Image.Image, side: int) -> NDArray[np.uint8]:
    small = image.resize((side, side), Image.Resampling.BOX, reducing_gap=2)  # the gap: faster
    return np.asarray(small.convert("L"))
