"""Routing's memory: ours against the plain form that holds every vote, forward and backward.

Counted by tensors, shared matrices, fp32, batch 32, 8 groups, 3 iterations; C types at P positions
make N = C · P primary capsules. "Saved" is what waits for the backward pass; "peak" is the most at
once beside the weights, gradients included. Both with the primary capsules themselves.

The plain form is written two ways: as usually published, with the weighted votes as a product
("product"), and with the sum as an einsum, which spares it a second copy of the votes ("einsum").

usage: python tests/benchmarks/bench_routing.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from agecli.models.routing import route, squash
from agecli.training.memory_plan.footprint import LiveTensors, SavedTensors
from tests.models.reference import route_plainly

BATCH, GROUPS = 32, 8
SIZES = [(32, 4), (32, 9), (32, 16), (32, 36), (32, 64), (32, 100), (32, 144), (32, 400)]


def route_by_einsum(u: Tensor, weight: Tensor, iterations: int) -> Tensor:
    """Route with the votes held once."""
    votes = torch.einsum("bcpi,cjio->bcpjo", u, weight).flatten(1, 2)  # (B, N, J, O)
    fixed, logits = votes.detach(), u.new_zeros(votes.shape[0], votes.shape[1], votes.shape[2])
    for _ in range(iterations - 1):
        capsules = squash(torch.einsum("bnj,bnjo->bjo", logits.softmax(-1), fixed))
        logits = logits + torch.einsum("bnjo,bjo->bnj", fixed, capsules)
    return squash(torch.einsum("bnj,bnjo->bjo", logits.softmax(-1), votes))


def cost(form: Callable[..., Tensor], types: int, positions: int) -> tuple[int, int]:
    """Return the bytes saved for backward, and the peak of a forward and backward pass."""
    u = torch.randn(BATCH, types, positions, 8).requires_grad_()
    weight = nn.Parameter(0.01 * torch.randn(types, GROUPS, 8, 16))
    with LiveTensors([u]) as live:
        with SavedTensors([weight]) as saved:
            out = form(u, weight, iterations=3)
        out.sum().backward()
    return saved.bytes, live.peak


def main() -> None:
    """Print a row per number of primary capsules."""
    print(f"{'capsules':>9}{'saved MB: ours':>16}{'product':>9}{'':>8}{'einsum':>8}{'':>8}"
          f"{'peak MB: ours':>16}{'product':>9}{'':>8}{'einsum':>8}")  # fmt: skip
    for types, positions in SIZES:
        ours, product, einsum = (
            cost(form, types, positions) for form in (route, route_plainly, route_by_einsum)
        )
        cells = [f"{types * positions:>9,}"]
        for part in (0, 1):
            cells.append(f"{ours[part] / 1e6:>16.2f}")
            for plain in (product, einsum):
                ratio = f"1/{plain[part] / ours[part]:.1f}"
                cells.append(f"{plain[part] / 1e6:>{9 if plain is product else 8}.1f}{ratio:>8}")
        print("".join(cells))


if __name__ == "__main__":
    main()
