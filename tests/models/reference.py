"""Dynamic routing as the paper writes it, with every vote held: the truth that ours is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def squash_plainly(s: Tensor) -> Tensor:
    """Shrink vectors as equation 1 says: |s|² / (1 + |s|²) of the unit vector."""
    square = (s * s).sum(-1, keepdim=True)
    return square / (1 + square) * (s / square.sqrt())


def route_plainly(u: Tensor, weight: Tensor, iterations: int) -> Tensor:
    """Route with all votes in memory, for the arguments of `route`; no gradient but the last's.

    u: (B, C, P, I). weight: (C, J, I, O) or (C, P, J, I, O). Returns (B, J, O).
    """
    votes = torch.einsum(
        "bcpi,cjio->bcpjo" if weight.ndim == 4 else "bcpi,cpjio->bcpjo", u, weight
    ).flatten(1, 2)  # (B, N, J, O)
    fixed = votes.detach()
    logits = torch.zeros(votes.shape[:3], dtype=u.dtype, device=u.device)  # (B, N, J)
    for _ in range(iterations - 1):
        coupling = logits.softmax(-1)[..., None]
        capsules = squash_plainly((coupling * fixed).sum(1))  # (B, J, O)
        logits = logits + (fixed * capsules[:, None]).sum(-1)
    return squash_plainly((logits.softmax(-1)[..., None] * votes).sum(1))
