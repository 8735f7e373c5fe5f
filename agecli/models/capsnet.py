"""The capsule network of Sabour, Frosst and Hinton 2017: one group capsule per age group."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agecli.models.blocks import ConvNorm, Half
from agecli.models.checkpointing import checkpointed
from agecli.models.resnet import Body
from agecli.models.routing import route, squash

TYPES = 32
WIDEST = 256
"""Largest number of channels of a stage."""
LARGEST_GRID = 12
"""Largest side of the grid of primary capsules that the strided stem ends in."""
RECONSTRUCTED = 32
"""Side of the reconstructed image; at 224 px the paper's decoder would have 150 M weights."""
SHORTEST = 1e-6
"""Length below which a group capsule counts as zero."""
START = 1.5
"""Scale of the votes: group capsules start at lengths of 0.1 to 0.8, where gradients still flow."""


class StridedStage(nn.Module):
    """Convolution 3×3 with stride 2, batch norm, ReLU; convolution 3×3, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = ConvNorm(inputs, outputs, stride=2)
        self.conv = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/2, W/2)."""
        return torch.relu(self.conv(torch.relu(self.down(x))))


class ClassicStage(nn.Module):
    """The paper's first layer: convolution 9×9 with 256 filters, ReLU."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, outputs, 9)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, C, S-8, S-8)."""
        return torch.relu(self.conv(x))


class PrimaryCapsules(nn.Module):
    """A convolution whose channels are capsules of `dim` values, squashed."""

    def __init__(self, conv: nn.Module, dim: int) -> None:
        super().__init__()
        self.conv, self.dim = conv, dim

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to primary capsules (B, types, positions, dim)."""
        x = self.conv(x)  # (B, types · dim, G, G)
        x = x.permute(0, 2, 3, 1)  # (B, G, G, types · dim), as it lies in channels-last memory
        x = x.reshape(x.shape[0], x.shape[1] * x.shape[2], -1, self.dim)  # (B, P, types, dim)
        return squash(x).transpose(1, 2).contiguous()  # (B, types, P, dim)


class Decoder(nn.Module):
    """The paper's decoder, from a group's capsule back to the image: 512, 1024, pixels."""

    def __init__(self, groups: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(groups * dim, 512), nn.ReLU(),
            nn.Linear(512, 1024), nn.ReLU(),
            nn.Linear(1024, 3 * RECONSTRUCTED**2),
        )  # fmt: skip

    def forward(self, capsules: Tensor, groups: Tensor) -> Tensor:
        """Map capsules (B, J, dim), all but one masked, to normalised images (B, 3, 32, 32)."""
        mask = F.one_hot(groups, capsules.shape[1])[..., None]  # (B, J, 1)
        pixels = self.layers((capsules * mask).flatten(1))
        return pixels.view(-1, 3, RECONSTRUCTED, RECONSTRUCTED)


class CapsNet(nn.Module):
    """Stem, primary capsules, and a group capsule per age group by dynamic routing.

    stem: "strided" (double convolutions that halve the side until at most 12×12 positions are
    left), "classic" (9×9 convolution, then 9×9 with stride 2 to the primary capsules, as in the
    paper) or "dlib29" (the first 27 convolutions of dlib's network for face recognition).
    share: all positions share the transformation matrices; otherwise each has its own, as in the
    paper. primary_dim, group_dim: capsule dimensions, 8 and 16 in the paper. reconstruction: add
    a decoder, a regulariser in training.
    """

    explained_by = "capsules' shares"

    def __init__(
        self,
        *,
        outputs: int,
        image_size: int = 224,
        dropout: float = 0.0,
        stem: str = "strided",
        routing_iters: int = 3,
        primary_dim: int = 8,
        group_dim: int = 16,
        share: bool = True,
        reconstruction: bool = False,
    ) -> None:
        super().__init__()
        if image_size < 32:
            raise ValueError("image_size must be at least 32 to leave primary capsules")
        self.grad_checkpoint = False  # recompute stages and capsules in the backward pass
        self.routing_iters = routing_iters
        channels = TYPES * primary_dim
        if stem == "classic":
            side = (image_size - 16 + 1) // 2
            self.stages = nn.ModuleList([ClassicStage(256)])
            self.primary = PrimaryCapsules(nn.Conv2d(256, channels, 9, stride=2), primary_dim)
        elif stem == "dlib29":
            body, side = Body(stem, depth=4), _side_of_dlib(image_size)
            self.stages = nn.ModuleList([body])
            self.primary = PrimaryCapsules(ConvNorm(body.width, channels), primary_dim)
        else:
            widths, side = _strided_plan(image_size)
            self.stages = nn.ModuleList(
                StridedStage(*pair) for pair in zip((3, *widths), widths, strict=False)
            )
            conv = ConvNorm(widths[-1], channels, padding=0)
            self.primary = PrimaryCapsules(conv, primary_dim)
        self.dropout = nn.Dropout2d(dropout)
        positions = side * side
        own = () if share else (positions,)
        # (types, groups, primary, group), or (types, positions, groups, primary, group)
        matrices = torch.randn(TYPES, *own, outputs, primary_dim, group_dim)
        self.weight = nn.Parameter(matrices / math.sqrt(primary_dim))
        # Votes of one shared matrix add up over the positions, those of independent matrices
        # grow with the square root (and routing, which picks those that agree, doubles that).
        self.scale = START * outputs / math.sqrt(TYPES) / (positions if share else 2 * side)
        self.decoder = Decoder(outputs, group_dim) if reconstruction else None

    @property
    def body(self) -> Body | None:
        """Return dlib's network, if that is the stem."""
        first = self.stages[0]
        return first if isinstance(first, Body) else None

    def forward(self, x: Tensor, groups: Tensor | None = None) -> Any:
        """Map normalised images (B, 3, S, S) to logits (B, groups): log-lengths of group capsules.

        Their softmax is the lengths, normalised. With the true groups (B,), return the logits and
        the images (B, 3, 32, 32) that the decoder reconstructs from the true groups' capsules, or
        None without a decoder.
        """
        u = self.capsules(x)
        if groups is None:
            return self.classify(u)
        capsules = self._route(u)
        return _logits(capsules), self.decoder(capsules, groups) if self.decoder else None

    def capsules(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to primary capsules (B, types, positions, dim)."""
        for stage in self.stages:
            x = self._run(stage, x)
        return self._run(self.primary, self.dropout(x))

    def classify(self, u: Tensor) -> Tensor:
        """Map primary capsules to logits (B, groups)."""
        return _logits(self._route(u))

    def halves(self, size: int) -> tuple[Half, Half]:
        """Return its halves: images to primary capsules, capsules to logits."""
        return self.capsules, self.classify

    def _route(self, u: Tensor) -> Tensor:
        return route(u, self.weight, iterations=self.routing_iters, scale=self.scale)

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        return checkpointed(module, x) if self.grad_checkpoint and self.training else module(x)


def _logits(capsules: Tensor) -> Tensor:
    """Return the log-lengths (B, groups) of group capsules (B, groups, dim)."""
    return torch.linalg.vector_norm(capsules, dim=-1).clamp(min=SHORTEST).log()


def _strided_plan(image_size: int) -> tuple[list[int], int]:
    """Return the stages' channels, and the side of the grid of primary capsules after them."""
    widths: list[int] = []
    side = image_size
    while not widths or side - 2 > LARGEST_GRID:
        widths.append(min(32 << len(widths), WIDEST))
        side = (side + 1) // 2
    return widths, side - 2  # the primary capsules' convolution has no padding


def _side_of_dlib(image_size: int) -> int:
    """Return the side of the grid of primary capsules after dlib's stem and three halvings."""
    return (((image_size - 7) // 2 + 1 - 3) // 2 + 1) // 8
