"""How training images are changed at random: all of `--augment`, on whole batches, on the device.

- none: images as they are.
- light: rotate, scale, shift and mirror, as a face's crop leaves them.
- wild: light, and what photographs add: few pixels, light and colour, JPEG, something in front.

Batches are float (B, 3, S, S), values 0 to 255; each image is changed its own way, except where
it says that the batch shares a strength.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from agecli.config import Augment

ROTATION, SCALE, SHIFT = 15.0, 1.15, 0.06
"""Largest angle in degrees, scale factor, and shift in image sides."""

SOFTENED, FEWEST = 0.3, 0.25
"""Share of images with fewer pixels, and the least share of their side that is left."""

RECOLOURED, BRIGHTNESS, CONTRAST, CAST, GREY = 0.5, 2.0, 1.5, 1.3, 0.1
"""Share of images in another light, its largest factors of brightness, contrast and each colour's
own; share of images without colour."""

COMPRESSED, QUALITY = 0.3, (20.0, 90.0)
"""Share of images compressed as JPEG, and the least and best quality."""

ERASED, ERASED_AREA = 0.3, (0.02, 0.2)
"""Share of images with an erased rectangle, and its least and largest area."""


def augment(batch: Tensor, kind: Augment, generator: torch.Generator | None = None) -> Tensor:
    """Change a batch at random in one of the ways above; generator: torch's own by default."""
    if kind == "none":
        return batch
    draw = Draw(batch, generator)
    batch = move(batch, draw)
    if kind == "wild":
        batch = erase(compress(recolour(soften(batch, draw), draw), draw), draw)
    return batch


class Draw:
    """Draws numbers for a batch, one per image, on its device."""

    def __init__(self, batch: Tensor, generator: torch.Generator | None = None) -> None:
        self.count, self.device, self.generator = len(batch), batch.device, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw evenly, (B, *shape)."""
        size = (self.count, *shape)
        unit = torch.rand(size, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def factor(self, largest: float, *shape: int) -> Tensor:
        """Draw from 1/largest to largest, as often above 1 as below; (B, *shape)."""
        return torch.exp(self.uniform(-1, 1, *shape) * math.log(largest))

    def chosen(self, share: float) -> Tensor:
        """Draw which images to change, bool (B,)."""
        return self.uniform(0, 1) < share

    def some(self, share: float) -> Tensor:
        """Draw which images to change: their numbers."""
        return self.chosen(share).nonzero().flatten()


def move(batch: Tensor, draw: Draw) -> Tensor:
    """Rotate, scale, shift and mirror; what comes in from beyond the border is the border."""
    angle = draw.uniform(-1, 1) * math.radians(ROTATION)
    scale = draw.factor(SCALE)
    mirror = torch.where(draw.uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    x, y = (draw.uniform(-1, 1) * 2 * SHIFT for _ in range(2))
    affine = torch.stack(
        [torch.stack([cos * mirror, -sin, x], dim=1), torch.stack([sin * mirror, cos, y], dim=1)],
        dim=1,
    )  # (B, 2, 3)
    grid = F.affine_grid(affine, list(batch.shape), align_corners=False)  # (B, S, S, 2)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def soften(batch: Tensor, draw: Draw) -> Tensor:
    """Take pixels from some images: shrink them, by the batch's strength, and enlarge them."""
    some, side = draw.some(SOFTENED), batch.shape[-1]
    strength = torch.rand((), generator=draw.generator, device=draw.device).item()
    fewer = max(1, round(side * FEWEST**strength))
    small = F.interpolate(batch[some], size=(fewer, fewer), mode="bilinear", antialias=True)
    return batch.index_copy(0, some, F.interpolate(small, size=(side, side), mode="bilinear"))


def recolour(batch: Tensor, draw: Draw) -> Tensor:
    """Change some images' light, contrast and colours, and take the colour from some."""
    lit = batch * (draw.factor(BRIGHTNESS, 1, 1, 1) * draw.factor(CAST, 3, 1, 1))
    mean = lit.mean(dim=(1, 2, 3), keepdim=True)
    lit = torch.lerp(mean, lit, draw.factor(CONTRAST, 1, 1, 1))
    batch = torch.where(draw.chosen(RECOLOURED)[:, None, None, None], lit, batch)
    grey = batch.mean(dim=1, keepdim=True)
    return torch.where(draw.chosen(GREY)[:, None, None, None], grey, batch).clamp(0, 255)


def erase(batch: Tensor, draw: Draw) -> Tensor:
    """Fill a rectangle in some images with noise (random erasing, Zhong et al. 2020)."""
    side = batch.shape[-1]
    area, stretch = draw.uniform(*ERASED_AREA, 1), torch.exp(draw.uniform(-0.7, 0.7, 1))
    place = torch.arange(side, device=batch.device) / side  # (S,)

    def inside(extent: Tensor) -> Tensor:  # (B, S)
        start = draw.uniform(0, 1, 1) * (1 - extent)
        return (place >= start) & (place < start + extent)

    rows, columns = inside((area * stretch).sqrt()), inside((area / stretch).sqrt())
    mask = (draw.chosen(ERASED)[:, None] & rows)[:, None, :, None] & columns[:, None, None, :]
    return torch.where(mask, draw.uniform(0, 255, *batch.shape[1:]), batch)


def compress(batch: Tensor, draw: Draw) -> Tensor:
    """Compress some images as JPEG does and back, each at its own quality."""
    some, quality = draw.some(COMPRESSED), draw.uniform(*QUALITY)
    return batch.index_copy(0, some, jpeg(batch[some], quality[some]))


def jpeg(batch: Tensor, quality: Tensor) -> Tensor:
    """Round images' 8×8 cosine coefficients as JPEG (ITU T.81) does at qualities (B,) to 100.

    The tables are the standard's, scaled as libjpeg scales them; colours keep all their pixels.
    """
    count, _, height, width = batch.shape
    to = batch.new_tensor
    ycc = torch.einsum("kc,bchw->bkhw", to(_YCC), batch - 128).round()  # bytes
    ycc = F.pad(ycc, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = ycc.shape[2] // 8, ycc.shape[3] // 8
    blocks = ycc.reshape(count, 3, rows, 8, columns, 8).transpose(3, 4)
    # blocks: (B, 3, rows, columns, 8, 8)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)  # (B,)
    tables = to(_TABLES).view(1, 2, 8, 8)[:, [0, 1, 1]]  # (1, 3, 8, 8)
    steps = ((tables * percent.view(-1, 1, 1, 1) + 50) / 100).floor().clamp(1, 255)  # (B, 3, 8, 8)
    steps = steps[:, :, None, None]  # (B, 3, 1, 1, 8, 8)
    cosines = _cosines().to(batch)
    rounded = (cosines @ blocks @ cosines.T).div(steps).round().mul(steps)
    ycc = (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(ycc.shape)
    ycc = ycc[:, :, :height, :width]  # (B, 3, H, W)
    inverse = torch.linalg.inv(to(_YCC))
    return (torch.einsum("ck,bkhw->bchw", inverse, ycc) + 128).clamp(0, 255)


def _cosines() -> Tensor:
    """Give the orthonormal 8-point cosine transform (8, 8)."""
    place = torch.arange(8.0)
    waves = torch.cos(math.pi / 8 * place[:, None] * (place + 0.5)) / 2
    waves[0] /= math.sqrt(2)
    return waves


_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]

_TABLES = [
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
     14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
     18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
     24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
     *[99] * 32],
]  # fmt: skip
"""JPEG's tables for brightness and for colour, row by row."""
