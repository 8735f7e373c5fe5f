"""Building blocks that several models share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Half = Callable[[Tensor], Tensor]
"""One half of a network cut in two: images to features, or features to logits (B, outputs)."""


class ConvNorm(nn.Module):
    """Convolution 3×3 and batch norm, which `fold` merges for inference."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def fold(self) -> None:
        """Fold the batch norm into the convolution, for inference: the outputs stay the same."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/stride, W/stride); without padding, less a border."""
        return self.norm(self.conv(x))


def to_channels_last(model: nn.Module) -> nn.Module:
    """Convert the convolutions' weights to channels-last memory format; return the model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model


def fold(model: nn.Module) -> None:
    """Fold every batch norm of a model into its convolution: the outputs stay the same."""
    for module in list(model.modules()):
        if callable(own := getattr(module, "fold", None)):
            own()
