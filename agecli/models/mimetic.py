"""Mimetic initialisation (Trockman & Kolter 2023): a transformer starts out like a trained one.

Trained attention compares a token with itself (its query-key product is near the identity) and
subtracts what it attends to (its value-output product is near the negative identity). From such a
start a small vision transformer learns faster, and better, from few images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agecli.models.dinov2 import projections

NOISE, IDENTITY = 0.7, 0.7
"""Query-key product of a head: NOISE · N(0, 1/d) + IDENTITY · I."""
NOISE_OUT, IDENTITY_OUT = 0.4, 0.4
"""Value-output product: NOISE_OUT · N(0, 1/d) - IDENTITY_OUT · I."""
TEMPERATURE = 10_000
"""Ratio of the longest to the shortest wavelength of the position embeddings."""


@torch.no_grad()
def initialise_mimetic(backbone: Any) -> None:
    """Initialise the attention and the position embeddings of a DINOv2 backbone."""
    for block in backbone.encoder.layer:
        _initialise_attention(block.attention, backbone.config.num_attention_heads)
    positions = backbone.embeddings.position_embeddings  # (1, 1 + side², D)
    _, count, width = positions.shape
    positions[0, 0] = 0
    positions[0, 1:] = sine_positions(round((count - 1) ** 0.5), width)


def sine_positions(side: int, width: int) -> Tensor:
    """Compute sines and cosines (side², width) of the rows and columns of a patch grid."""
    rates = TEMPERATURE ** -torch.linspace(0, 1, width // 4)
    line = torch.arange(side)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    angles = [place.flatten()[:, None] * rates for place in (rows, columns)]  # (side², width / 4)
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


def _initialise_attention(attention: nn.Module, heads: int) -> None:
    query, key, value, output = (layer.weight for layer in projections(attention))  # (D, D) each
    width = query.shape[1]
    size = width // heads
    for first in range(0, width, size):
        rows = slice(first, first + size)
        left, right = _factors(NOISE, IDENTITY, width, size)
        query[rows], key[rows] = left.T, right
    left, right = _factors(NOISE_OUT, -IDENTITY_OUT, width, width)
    value.copy_(left.T)
    output.copy_(right.T)


def _factors(noise: float, identity: float, width: int, rank: int) -> tuple[Tensor, Tensor]:
    """Factor noise · N(0, 1/width) + identity · I into (width, rank) and (rank, width)."""
    product = noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)
    left, values, right = torch.linalg.svd(product)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]
