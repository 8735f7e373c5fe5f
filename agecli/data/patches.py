"""Near duplicates by grey patches (`--audit 2`): also grey, brighter, cropped or rotated copies.

All decisions are made on integers, or on one rounding of integers: sums of integers below
2^24 (float32) and 2^53 (float64) are exact in any order, so that every machine, processor and
BLAS finds the same pairs, and the same split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import IntArray
from agecli.data import dhash

if TYPE_CHECKING:
    from agecli.data.columns import Column as Traces

NEAR = 0.76
"""Least correlation of two images' outlines for a closer comparison."""
LIKE = 0.80
"""Least mean correlation of the patches of near duplicates."""

_CELLS = 16
_STEPS = 2 * _CELLS * (_CELLS - 1)
_SUMS = 2 * (_CELLS // 2) ** 2
_LENGTH = 127  # so that bfloat16, exact for integers up to 256, multiplies them exactly
_SIEVE = np.float32(0.76 * _LENGTH**2)  # UTKFace's 1,253 near pairs are all above 0.797
_PART, _BLOCK = 4096, 512
_PAIRS = 2**14
_MANY = 2**18
"""Fewest images for which the search is worth importing torch."""

_SIDE, _PATCH, _SHIFT = 48, 15, 4
_PLACES = (4, 16, 29)  # of three patches per row, with a margin for the shift
_BLUR = 5

TRACE = np.dtype([("outlines", np.int8, _STEPS), ("sums", np.int8, _SUMS)])
"""Kept of an image to find near duplicates; the sums over 2×2 outlines serve as a sieve."""


def fingerprint(image: Image.Image) -> NDArray[np.uint8]:
    """Compute the fingerprint of an RGB image: the mean greys of 16×16 cells."""
    return _grey(image, _CELLS)


def traces(prints: NDArray[np.uint8]) -> np.ndarray:
    """Compute the traces (N,) of fingerprints (N, 16, 16)."""
    found = np.zeros(len(prints), TRACE)
    found["outlines"] = lines = outlines(prints)
    across, down = np.split(lines.astype(np.int32), 2, axis=1)
    parts = [_sums_of_four(across.reshape(-1, _CELLS - 1, _CELLS)),
             _sums_of_four(down.reshape(-1, _CELLS, _CELLS - 1))]  # fmt: skip
    sums = np.concatenate(parts, axis=1)  # (N, 128)
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True, dtype=np.float64))
    found["sums"] = np.rint(sums * (_LENGTH / np.maximum(lengths, 1)))
    return found


def _sums_of_four(lines: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum each 2×2 block of (N, H, W), padded with zeros; returns (N, 64)."""
    padded = np.zeros((len(lines), _CELLS, _CELLS), np.int32)
    padded[:, : lines.shape[1], : lines.shape[2]] = lines
    half = padded[:, ::2] + padded[:, 1::2]
    return (half[:, :, ::2] + half[:, :, 1::2]).reshape(len(lines), _SUMS // 2)


def parts(count: int) -> Iterator[tuple[int, int]]:
    """Divide the comparison of all with all into blocks of 4096 × 4096 images."""
    return combinations_with_replacement(range(0, count, _PART), 2)


def near_pairs(traces: Traces, part: tuple[int, int]) -> IntArray:
    """Return the pairs (M, 2), in a part, of images whose outlines correlate by NEAR or more.

    Pairs whose sums correlate less are sieved out first, in a quarter of the time. An image of
    one colour matches nothing.
    """
    low, start = part
    rows, columns = traces[low : low + _PART], traces[start : start + _PART]
    multiply = _multiply if len(traces) >= _MANY else np.matmul
    found: list[IntArray] = [np.empty((0, 2), dtype=np.int64)]
    for pairs in _sieve(rows["sums"], columns["sums"], multiply, low == start):
        for begin in range(0, len(pairs), _PAIRS):
            one, other = pairs[begin : begin + _PAIRS].T
            near = _correlate(rows["outlines"][one], columns["outlines"][other])
            found.append(pairs[begin : begin + _PAIRS][near])
    return np.concatenate(found) + np.array(part)


def _sieve(
    rows: NDArray[np.int8], columns: NDArray[np.int8], multiply: Callable[..., Any], same: bool
) -> Iterator[IntArray]:
    """Yield the pairs (M, 2) whose sums correlate, 512 × 512 at a time, which fits the cache.

    same: rows and columns are the same images; of each pair the lower row comes first.
    """
    ones, others = rows.astype(np.float32), columns.astype(np.float32).T
    for low in range(0, len(rows), _BLOCK):
        for start in range(low if same else 0, len(columns), _BLOCK):
            products = multiply(ones[low : low + _BLOCK], others[:, start : start + _BLOCK])
            close = np.flatnonzero(products >= _SIEVE)
            if len(close):
                one, other = np.divmod(close, products.shape[1])
                pairs = np.stack([one + low, other + start], axis=1)
                yield pairs[pairs[:, 0] < pairs[:, 1]] if same else pairs


def _multiply(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply matrices of small integers, in bfloat16 if the processor supports it.

    That takes a third of the time; the products are summed in float32, so that they are exact.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    return (torch.from_numpy(ones) @ torch.from_numpy(others)).numpy()


def _correlate(lines: NDArray[np.int8], others: NDArray[np.int8]) -> NDArray[np.bool_]:
    one, length = _with_lengths(lines)
    other, width = _with_lengths(others)
    return (one * other).sum(axis=1) >= NEAR * length * width


def outlines(prints: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Compute the normalised changes of brightness from cell to cell, -100 to 100.

    Differences of neighbouring cells, scaled by their mean and clipped: many faint edges
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
    """Return outlines as floats, and their lengths, infinite for an image of one colour."""
    floats = lines.astype(np.float32)
    squares = (floats * floats).sum(axis=1)
    return floats, np.sqrt(np.where(squares, squares, np.float32(np.inf)))


def is_copy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether the patches of an image are found in another, or all pixels differ little.

    a, b: (S, S, 3). The latter covers overlaid text, and dark images.
    """
    return _are_found(a, b) or dhash.is_copy(a, b)


def _are_found(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether 3×3 patches of an image's fine structure are found nearby in another.

    Nearby is up to 4 of 48 pixels away; their mean best correlation decides.
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
    """Subtract from each of 48×48 greys the mean around it; returns (48, 48) integers."""
    grey = _grey(Image.fromarray(image), _SIDE).astype(np.float64)
    return _BLUR**2 * grey - _sums(np.pad(grey, _BLUR // 2, mode="edge"), _BLUR)


def _sums(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sum each square of values: (S, S) to (S - side + 1, S - side + 1)."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]


def _grey(image: Image.Image, side: int) -> NDArray[np.uint8]:
    small = image.resize((side, side), Image.Resampling.BOX, reducing_gap=2)  # faster with the gap
    return np.asarray(small.convert("L"))
