"""The residual network (He et al. 2016), 18 to 50 layers, with fastai's head.

The body has torchvision's parameter names, so that its state dicts load as they are, or is that of
dlib's network for face recognition (`models.dlib` reads its file); the head is
`fastai.vision.learner.create_head`, layer by layer. None of these libraries is needed to use it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from agecli.models.blocks import Half
from agecli.models.checkpointing import checkpointed

HIDDEN = 512
FINEST = 6
"""Smallest side, in positions, of a heat map, if a stage has as many."""


class Block(nn.Module):
    """A residual block: convolutions with batch norm, and a shortcut around them."""

    expansion: ClassVar[int]
    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """Names of the convolutions and their batch norms, in order."""
    padded: ClassVar[bool] = True
    """Whether strided convolutions and poolings see zeros beyond the border."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/stride, W/stride)."""
        shortcut = self.downsample(x)
        for index, (conv, norm) in enumerate(self.pairs):
            x = torch.relu(x) if index else x
            x = getattr(self, norm)(getattr(self, conv)(x))
        return torch.relu(self.add(x, shortcut))

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Add the shortcut (B, C', H', W') to the convolutions' output of the same shape."""
        return x + shortcut

    def fold(self) -> None:
        """Fold the batch norms into the convolutions, for inference: the outputs stay the same."""
        for conv, norm in self.pairs:
            _fold_pair(self, conv, norm)
        if isinstance(self.downsample, nn.Sequential):
            _fold_pair(self.downsample, "0", "1")


class BasicBlock(Block):
    """Two convolutions 3×3."""

    expansion = 1
    pairs = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)


class Bottleneck(Block):
    """Convolutions 1×1, 3×3 (with the stride, as torchvision has it) and 1×1."""

    expansion = 4
    pairs = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width * self.expansion, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)


class DlibBlock(BasicBlock):
    """dlib's block: its shortcut has no weights, and what it lacks in size counts as zeros."""

    padded = False

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        if stride > 1:
            self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, bias=False)
        self.downsample = nn.AvgPool2d(2) if stride > 1 else nn.Identity()

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Add a shortcut of as many or fewer channels and as many or more positions."""
        rows, columns = (shortcut.shape[dim] - x.shape[dim] for dim in (2, 3))
        x = F.pad(x, (0, columns, 0, rows))  # (B, C', H', W')
        return x + F.pad(shortcut, (0, 0, 0, 0, 0, x.shape[1] - shortcut.shape[1]))


def _strides(*depths: int) -> tuple[tuple[int, ...], ...]:
    """Return the blocks' strides of stages of these depths: all but the first stage halve."""
    first, *others = depths
    return ((1,) * first, *((2, *(1,) * (depth - 1)) for depth in others))


ARCHS: dict[str, tuple[type[Block], int, tuple[tuple[int, ...], ...]]] = {
    "resnet18": (BasicBlock, 64, _strides(2, 2, 2, 2)),
    "resnet34": (BasicBlock, 64, _strides(3, 4, 6, 3)),
    "resnet50": (Bottleneck, 64, _strides(3, 4, 6, 3)),
    "dlib29": (DlibBlock, 32, _strides(3, 4, 3, 3, 1)),
}
"""The block, the width of the stem and the first stage, and the blocks' strides by stage."""


class Body(nn.Module):
    """A ResNet without its classifier: a stem and its stages, or the first `depth` of them."""

    def __init__(self, arch: str, *, depth: int | None = None) -> None:
        super().__init__()
        block, width, strides = ARCHS[arch]
        strides, widest = strides[:depth], 8 * width
        self.depth = len(strides)
        self.grad_checkpoint = False  # recompute the stages in the backward pass
        edge = int(block.padded)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3 * edge, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=edge)
        inputs = width
        for number, stage in enumerate(strides, start=1):
            blocks = []
            for stride in stage:
                blocks.append(block(inputs, width, stride))
                inputs = width * block.expansion
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            width = min(2 * width, widest)
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> list[nn.Module]:
        """Return the stages, in order."""
        return [self.get_submodule(f"layer{number + 1}") for number in range(self.depth)]

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to features (B, width, s, s).

        s: S/4 after the first stage, rounded; each further one halves it.
        """
        recompute = self.grad_checkpoint and self.training
        x = checkpointed(self.stem, x) if recompute else self.stem(x)  # (B, C, S/4, S/4)
        for stage in self.stages:
            x = checkpointed(stage, x) if recompute else stage(x)
        return x

    @property
    def stem(self) -> nn.Module:
        """Return the layers before the stages."""
        return nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.maxpool)

    def fold(self) -> None:
        """Fold the stem's batch norm; blocks fold their own."""
        _fold_pair(self, "conv1", "bn1")


class ConcatPool(nn.Module):
    """The maximum and the mean over all positions, joined, as fastai's AdaptiveConcatPool2d."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2·C)."""
        return torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1)


class ResNet(nn.Module):
    """A ResNet body, pooled, and a head with one hidden layer."""

    explained_by = "Grad-CAM"

    def __init__(self, *, outputs: int, arch: str = "resnet34", dropout: float = 0.5) -> None:
        super().__init__()
        if arch not in ARCHS:
            raise ValueError(f"unknown arch {arch}")
        self.body = Body(arch)
        self.head = nn.Sequential(
            ConcatPool(),
            nn.Flatten(),
            nn.BatchNorm1d(2 * self.body.width),
            nn.Dropout(dropout / 2),
            nn.Linear(2 * self.body.width, HIDDEN, bias=False),
            nn.ReLU(),
            nn.BatchNorm1d(HIDDEN),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, outputs, bias=False),
        )

    @property
    def grad_checkpoint(self) -> bool:
        """Recompute the stages in the backward pass."""
        return self.body.grad_checkpoint

    @grad_checkpoint.setter
    def grad_checkpoint(self, wanted: bool) -> None:
        self.body.grad_checkpoint = wanted

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to logits (B, outputs)."""
        return self.head(self.body(x))

    def halves(self, size: int) -> tuple[Half, Half]:
        """Return its halves, cut after the last stage with at least FINEST positions along a side.

        size: the images' side. Images to features, features to logits.
        """
        stages = self.body.stages
        depth = max(1, sum(size / 2 ** (n + 1) >= FINEST for n in range(1, len(stages) + 1)))
        front = nn.Sequential(self.body.stem, *stages[:depth])
        return front, nn.Sequential(*stages[depth:], self.head)


def body_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the body's weights from a state dict of torchvision's ResNet or of ours."""
    own = {name.removeprefix("body."): t for name, t in state.items() if name.startswith("body.")}
    return own or {name: t for name, t in state.items() if not name.startswith("fc.")}


def _fold_pair(module: nn.Module, conv: str, norm: str) -> None:
    first, second = module.get_submodule(conv), module.get_submodule(norm)
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
        setattr(module, conv, fuse_conv_bn_eval(first.eval(), second.eval()))
        setattr(module, norm, nn.Identity())
