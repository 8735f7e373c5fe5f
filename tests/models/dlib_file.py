"""A weights file in dlib's format, with random values."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor, Tensor, Tensor]]
"""Weights and biases of each convolution, and the scales and shifts after it."""

WIDTHS = [32] * 7 + [64] * 8 + [128] * 6 + [256] * 8


def random_layers() -> Layers:
    """Draw the layers of dlib's network so that features neither vanish nor explode."""
    random = torch.Generator().manual_seed(0)
    layers, inputs = [], 3
    for width in WIDTHS:
        side = 7 if inputs == 3 else 3
        weight = torch.randn(width, inputs, side, side, generator=random)
        scale = 1 + torch.rand(width, generator=random)
        bias, shift = (0.1 * torch.randn(width, generator=random) for _ in range(2))
        layers.append((weight / (side * side * inputs) ** 0.5, bias, scale, shift))
        inputs = width
    return layers


def write_dlib(path: Path, layers: Layers) -> Path:
    """Write layers as dlib's `serialize` does: integers have their length before them."""

    def integer(value: int) -> bytes:
        size = max(1, (value.bit_length() + 7) // 8)
        return bytes([size]) + value.to_bytes(size, "little")

    def tensor(name: bytes, *parts: Tensor) -> bytes:
        values = np.concatenate([part.numpy().ravel() for part in parts]).astype("<f4")
        head = b"".join(map(integer, (2, len(values), 1, 1, 1)))
        return integer(len(name)) + name + head + values.tobytes()

    with path.open("wb") as file:
        file.write(integer(1))
        for weight, bias, scale, shift in layers:
            file.write(tensor(b"con_4", weight, bias) + bytes(20))
            file.write(tensor(b"affine_", scale, shift) + bytes(20))
    return path
