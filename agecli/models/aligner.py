"""The aligner: a small network that tells how a face lies in a picture, and whether it is one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agecli.models.blocks import ConvNorm

SIDE = 64
"""Side of the pictures it looks at, in pixels."""
OUTPUTS = 6
"""Cosine and sine of the tilt, log of the scale, shift right and down, face or not (a logit)."""
STRIDES = (2, 2, 1, 2, 1, 2)


class Aligner(nn.Module):
    """Six convolutions, a hidden layer, six numbers: 0.37 million parameters.

    The numbers place the face's frame, as UTKFace's chips show it, in the square picture: the
    tilt is clockwise as seen, the scale is the frame's side and the shift its centre's distance
    from the picture's, both in sides of the picture.
    """

    def __init__(self, *, widths: tuple[int, ...] = (24, 48, 48, 96, 96, 112), hidden: int = 64):
        super().__init__()
        inputs = (3, *widths)
        self.convs = nn.ModuleList(
            ConvNorm(inputs[i], width, stride=STRIDES[i]) for i, width in enumerate(widths)
        )
        self.hidden = nn.Linear(widths[-1] * (SIDE // 16) ** 2, hidden)
        self.out = nn.Linear(hidden, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, 3, 64, 64), values 0 to 255, to (B, 6).

        Each picture is brought to mean 0 and deviation 1 first: light does not matter.
        """
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) / (x.std(dim=(1, 2, 3), keepdim=True, correction=0) + 1)
        for conv in self.convs:
            x = torch.relu(conv(x))  # (B, 24, 32, 32) ... (B, 112, 4, 4)
        return self.out(torch.relu(self.hidden(x.flatten(1))))  # (B, 64) -> (B, 6)
