"""Dynamic routing between capsules that never holds the votes (Sabour, Frosst and Hinton 2017).

A primary capsule u (8-D) votes for group j with û_j = u W_j (16-D). Held for every primary capsule
and group, the votes dwarf the rest of the network. They are not needed: the weighted sum of votes
is taken of the u first and transformed once, and the agreement û_j · v_j equals u · (W_j v_j). The
routing logits need no memory of their own either: after some iterations they are the agreement
with the sum of the group capsules so far.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def squash(s: Tensor, *, dim: int = -1) -> Tensor:
    """Shrink vectors to a length below 1, keeping their direction (Sabour et al. 2017, eq. 1).

    s: any shape; returns the same shape and precision, computed in fp32 or better. Zero vectors
    stay zero, with a finite gradient.
    """
    wide = s.to(_wide(s))
    length = torch.linalg.vector_norm(wide, dim=dim, keepdim=True)
    return (wide * (length / (1 + length**2))).to(s.dtype)


def route(u: Tensor, weight: Tensor, *, iterations: int = 3, scale: float = 1.0) -> Tensor:
    """Return the group capsules (B, J, O) that dynamic routing finds for primary capsules.

    u: (B, C, P, I), capsules of C types at P positions. weight: (C, J, I, O), shared by the
    positions, or (C, P, J, I, O). scale: a factor of all votes. Only the last iteration passes
    gradients on, as in the authors' code: the coupling coefficients are constants to it. Squash,
    softmax and sums over capsules' types are of fp32 or better.
    """
    return squash(_WeightedVotes.apply(u, weight, iterations, scale))


class _WeightedVotes(torch.autograd.Function):
    """The coupled sum of votes s (B, J, O) of the last iteration.

    Saved for the backward pass: u, the weight, and the sum of the group capsules so far, from which
    the coupling coefficients are computed again.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, weight: Tensor, iterations: int, scale: float) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            # u.shape[0], not len(u), which would fix the batch size of an exported model
            shape = (u.shape[0], weight.shape[-3], weight.shape[-1])  # (B, J, O)
            groups = torch.zeros(shape, dtype=_wide(u), device=u.device)
            for _ in range(iterations - 1):
                votes = _sum_votes(_couple(u, weight, groups), u, weight)
                groups += scale * squash(scale * votes)
            ctx.save_for_backward(u, weight, groups)
            ctx.scale = scale
            return scale * _sum_votes(_couple(u, weight, groups), u, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        u, weight, groups = ctx.saved_tensors
        coupling, grad = _couple(u, weight, groups), ctx.scale * grad
        if weight.ndim == 5:
            return *_gradients_by_position(coupling, u, weight, grad), None, None
        towards = torch.einsum("cjio,bjo->bcji", weight.to(grad.dtype), grad).to(u.dtype)
        sums = (coupling.mT @ u).to(grad.dtype)  # (B, C, J, I)
        grad_weight = torch.einsum("bcji,bjo->cjio", sums, grad)
        return coupling @ towards, grad_weight.to(weight.dtype), None, None


def _wide(u: Tensor) -> torch.dtype:
    return torch.promote_types(u.dtype, torch.float32)


def _couple(u: Tensor, weight: Tensor, groups: Tensor) -> Tensor:
    """Return the coupling coefficients (B, C, P, J): softmax of the agreement with the groups."""
    if weight.ndim == 5:
        logits = torch.stack(
            [(u * _back(weight, groups, j, u.dtype)).sum(-1) for j in range(groups.shape[1])], -1
        )
    else:
        towards = torch.einsum("cjio,bjo->bcji", weight.to(groups.dtype), groups)
        logits = u @ towards.to(u.dtype).mT  # (B, C, P, J)
    return torch.softmax(logits.to(groups.dtype), dim=-1).to(u.dtype)


def _sum_votes(coupling: Tensor, u: Tensor, weight: Tensor) -> Tensor:
    """Return the coupled sum of votes (B, J, O)."""
    wide = _wide(u)
    if weight.ndim == 4:
        sums = (coupling.mT @ u).to(wide)  # (B, C, J, I): over the positions, before the transform
        return torch.einsum("bcji,cjio->bjo", sums, weight.to(wide))
    parts = []
    for j in range(weight.shape[2]):
        share = (coupling[..., j, None] * u).to(wide)  # (B, C, P, I)
        parts.append(torch.einsum("bcpi,cpio->bo", share, weight[:, :, j].to(wide)))
    return torch.stack(parts, dim=1)


def _gradients_by_position(
    coupling: Tensor, u: Tensor, weight: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of u and of the weight (C, P, J, I, O), a group at a time."""
    grad_u, grad_weight = torch.zeros_like(u), torch.empty_like(weight)
    for j in range(weight.shape[2]):
        share = coupling[..., j, None]  # (B, C, P, 1)
        grad_u += share * _back(weight, grad, j, u.dtype)
        grad_weight[:, :, j] = torch.einsum("bcpi,bo->cpio", (share * u).to(grad.dtype), grad[:, j])
    return grad_u, grad_weight


def _back(weight: Tensor, groups: Tensor, j: int, dtype: torch.dtype) -> Tensor:
    """Take group j's vectors (B, O) back through its transformation: (B, C, P, I)."""
    return torch.einsum("cpio,bo->bcpi", weight[:, :, j].to(groups.dtype), groups[:, j]).to(dtype)
