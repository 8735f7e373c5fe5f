"""The plain convolutional network: four blocks, two dropouts, one hidden layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from agecli.models.blocks import ConvNorm, Half
from agecli.models.checkpointing import checkpointed

WIDTHS = (32, 64, 128, 256)
HIDDEN = 512


class ConvBlock(ConvNorm):
    """Convolution 3×3, batch norm, ReLU, max pool 2.

    ReLU runs after the pooling: the two commute, and it then touches a quarter of the values.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/2, W/2)."""
        return torch.relu(self.pool(super().forward(x)))


class CNN(nn.Module):
    """Four conv blocks (32 to 256 filters), flatten, dropout, FC 512, ReLU, dropout, FC."""

    explained_by = "Grad-CAM"

    def __init__(self, *, outputs: int, image_size: int = 224, dropout: float = 0.25) -> None:
        super().__init__()
        if image_size < 16:
            raise ValueError("image_size must be at least 16: four pooling layers halve it")
        self.grad_checkpoint = False  # recompute the blocks in the backward pass
        self.blocks = nn.ModuleList(
            ConvBlock(inputs, width) for inputs, width in zip((3, *WIDTHS), WIDTHS, strict=False)
        )
        side = image_size // 16
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(WIDTHS[-1] * side * side, HIDDEN),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to logits (B, outputs)."""
        for block in self.blocks:
            x = checkpointed(block, x) if self.grad_checkpoint and self.training else block(x)
        return self.head(x)  # (B, 256, S/16, S/16) -> (B, outputs)

    def halves(self, size: int) -> tuple[Half, Half]:
        """Return the halves before and after the last pooling: images to features, to logits."""
        blocks, last = self.blocks[:-1], cast(ConvBlock, self.blocks[-1])

        def front(x: Tensor) -> Tensor:
            for block in blocks:
                x = block(x)
            return torch.relu(ConvNorm.forward(last, x))  # (B, 256, S/8, S/8)

        return front, lambda features: self.head(last.pool(features))
