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
from agecli.data import dhash

NEAR = 0.76
"""Least correlation of the outlines of two pictures that are looked at more closely."""
LIKE = 0.80
"""Least mean correlation of the patches of near duplicates."""

_CELLS = 16
_BLOCK = 1024
_PAIRS = 2**14
_SIEVE = 0.65  # none of UTKFace's 1,253 near pairs lies below it

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

    Everything is compared with everything, 1024 × 1024 pictures at a time: first by every second
    number of their outlines, as a sieve, which halves the time. prints: (N, 16, 16). Returns
    sorted (M, 2).
    """
    lines = np.empty((len(prints), 2 * _CELLS * (_CELLS - 1)), dtype=np.int8)
    for start in range(0, len(prints), _BLOCK):
        lines[start : start + _BLOCK] = outlines(prints[start : start + _BLOCK])
    found: list[IntArray] = [np.empty((0, 2), dtype=np.int64)]
    for low in range(0, len(lines), _BLOCK):
        rows, lengths = _with_lengths(lines[low : low + _BLOCK, ::2])
        for start in range(low, len(lines), _BLOCK):
            columns, others = _with_lengths(lines[start : start + _BLOCK, ::2])
            close = np.flatnonzero(rows @ columns.T >= np.outer(_SIEVE * lengths, others))
            pairs = np.stack(np.divmod(close, len(columns)), axis=1) + np.array((low, start))
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            for some in range(0, len(pairs), _PAIRS):
                found.append(_correlated(lines, pairs[some : some + _PAIRS]))
    near = np.concatenate(found)
    return near[np.lexsort((near[:, 1], near[:, 0]))]


def _correlated(lines: NDArray[np.int8], pairs: IntArray) -> IntArray:
    one, length = _with_lengths(lines[pairs[:, 0]])
    other, width = _with_lengths(lines[pairs[:, 1]])
    return pairs[(one * other).sum(axis=1) >= NEAR * length * width]


def outlines(prints: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Compute how the light changes from cell to cell, whatever its strength: -100 to 100.

    Differences of neighbouring cells, of which 100 is half the mean and the most: many faint edges
    count for more than a few strong ones. prints: (N, 16, 16); returns (N, 480).
    """
    grey = prints.astype(np.int32)
    steps = np.concatenate(
        [np.diff(grey, axis=axis).reshape(len(grey), -1) for axis in (1, 2)], axis=1
    )  # (N, 480)
    most = np.maximum(np.abs(steps).sum(axis=1, keepdims=True), 1)
    steps = np.clip(steps * (2 * steps.shape[1]), -most, most)
    return np.rint(100 * steps / most).astype(np.int8)


def _with_lengths(lines: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return outlines as floats, and their lengths: that of a picture of one colour is infinite."""
    floats = lines.astype(np.float32)
    squares = (floats * floats).sum(axis=1)
    return floats, np.sqrt(np.where(squares, squares, np.float32(np.inf)))


def is_copy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether the patches of a picture are found in another, or all pixels differ little.

    a, b: (S, S, 3). The latter holds for what is written across a picture, and in a dark one.
    """
    return _are_found(a, b) or dhash.is_copy(a, b)


def _are_found(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Look for 3×3 patches of a picture's fine structure in another, each near its place.

    That is up to 4 of 48 pixels away; what they correlate by there, on average, decides.
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
