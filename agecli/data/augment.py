"""Augmentation of training images (`--augment`), on whole batches, on the device.

- none: images as they are.
- light: rotation, scaling, shifts and mirroring, as crops of faces vary.
- wild: light with larger scales, and what varies in photographs: hair, pixels, light and colour,
  JPEG, occlusion.

Batches are float (B, 3, S, S), values 0 to 255; each image is changed independently, except where
the batch is said to share a strength.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agecli.config import Augment

ROTATION, SCALE, SHIFT = 15.0, 1.15, 0.06
"""Largest angle in degrees, scale factor, and shift in image sides."""

WILD_SCALE = 1.35
"""Largest scale factor of `wild`: crops of photographs vary more than a data set's chips."""

HAIR, HAIR_LIGHT, HAIR_TINT = 0.2, 90.0, 25.0
"""Share of images with other hair, and the most added to its brightness and to each colour. A
share at which grey hair remains a sign of age."""

SOFTENED, FEWEST = 0.3, 0.25
"""Share of images with fewer pixels, and the smallest remaining share of their side."""

RECOLOURED, BRIGHTNESS, CONTRAST, CAST, HUE, GREY = 0.5, 2.0, 1.5, 1.3, 12.0, 0.1
"""Share of images in another light; the largest factors of brightness, contrast and each colour,
and the largest turn of the hue in degrees; share of images without colour."""

COMPRESSED, QUALITY = 0.3, (20.0, 90.0)
"""Share of images compressed as JPEG, and the lowest and highest quality."""

ERASED, ERASED_AREA = 0.3, (0.02, 0.2)
"""Share of images with an erased rectangle, and its smallest and largest area."""


def augment(batch: Tensor, kind: Augment, generator: np.random.Generator | None = None) -> Tensor:
    """Change a batch (B, 3, S, S) at random in one of the ways above; returns the same shape.

    generator: by default one seeded from torch's.
    """
    if kind == "none":
        return batch
    draw = Draw(batch, generator)
    if kind == "light":
        return move(batch, draw, SCALE)
    batch = move(dye(batch, draw), draw, WILD_SCALE)
    return erase(compress(recolour(soften(batch, draw), draw), draw), draw)


class Draw:
    """Draws numbers for a batch, one per image.

    They are drawn on the host, the same for every device, so that the host never waits for a GPU
    to know which images change.
    """

    def __init__(self, batch: Tensor, generator: np.random.Generator | None = None) -> None:
        self.count, self.device = len(batch), batch.device
        self.generator = generator or np.random.default_rng(int(torch.randint(2**62, ())))

    def place(self, array: NDArray) -> Tensor:
        """Copy an array to the batch's device, in its shape."""
        # From pageable memory a copy without blocking has read its source when it returns.
        return torch.tensor(array).to(self.device, non_blocking=True)

    def host(self, low: float, high: float, *shape: int) -> NDArray[np.float32]:
        """Draw uniformly, (B, *shape), on the host."""
        unit = self.generator.random((self.count, *shape), dtype=np.float32)
        return np.float32(low) + np.float32(high - low) * unit

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw uniformly, (B, *shape)."""
        return self.place(self.host(low, high, *shape))

    def factor(self, largest: float, *shape: int) -> NDArray:
        """Draw factors from 1/largest to largest, half above 1; (B, *shape), on the host."""
        return largest ** self.host(-1, 1, *shape)

    def chosen(self, share: float) -> Tensor:
        """Draw which images to change, bool (B,)."""
        return self.place(self.host(0, 1) < share)

    def some(self, share: float) -> NDArray[np.intp]:
        """Draw which images to change: their indices (n,), on the host."""
        return np.flatnonzero(self.host(0, 1) < share)

    def noise(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw uniformly, (B, *shape), on the device: too many numbers for the host."""
        seed = int(self.generator.integers(2**62))
        generator = torch.Generator(self.device).manual_seed(seed)
        unit = torch.rand((self.count, *shape), generator=generator, device=self.device)
        return low + (high - low) * unit


def dye(batch: Tensor, draw: Draw) -> Tensor:
    """Change the light and colour of the hair in some of (B, 3, S, S): all that lies outside an
    oval around a chip's face and above a line, softly; each image has its own oval and line."""
    some = draw.some(HAIR)
    tint = draw.host(-1, 1, 1, 1, 1) * HAIR_LIGHT + draw.host(-1, 1, 3, 1, 1) * HAIR_TINT
    drawn = tint, draw.host(0.9, 1.1, 1, 1, 1), draw.host(0.3, 1.1, 1, 1, 1)
    if not len(some):
        return batch
    index = draw.place(some)
    colour, oval, line = (draw.place(numbers[some]) for numbers in drawn)  # (n, 3 or 1, 1, 1)
    side = batch.shape[-1]
    across = (torch.arange(side, device=batch.device) + 0.5) / side  # (S,)
    down = across[:, None]  # (S, 1)
    distance = (((down - 0.52) / 0.46) ** 2 + ((across - 0.5) / 0.4) ** 2).sqrt()  # (S, S)
    hair = ((distance - oval) / 0.2).clamp(0, 1) * ((line - down) / 0.2).clamp(0, 1)  # (n, 1, S, S)
    return batch.index_copy(0, index, (batch[index] + colour * hair).clamp(0, 255))


def move(batch: Tensor, draw: Draw, largest_scale: float) -> Tensor:
    """Rotate, scale, shift and mirror (B, 3, S, S); border pixels are repeated outwards."""
    angle = draw.host(-1, 1) * math.radians(ROTATION)
    scale = draw.factor(largest_scale)
    mirror = np.where(draw.host(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = (draw.host(-1, 1) * 2 * SHIFT for _ in range(2))
    affine = np.stack([cos * mirror, -sin, x, sin * mirror, cos, y], axis=1)  # (B, 6)
    theta = draw.place(affine.reshape(-1, 2, 3).astype(np.float32))
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)  # (B, S, S, 2)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def soften(batch: Tensor, draw: Draw) -> Tensor:
    """Shrink and enlarge some of (B, 3, S, S), all by the batch's shared strength."""
    some, side = draw.some(SOFTENED), batch.shape[-1]
    fewer = max(1, round(side * FEWEST ** float(draw.generator.random())))
    if not len(some):
        return batch
    index = draw.place(some)
    small = F.interpolate(batch[index], size=(fewer, fewer), mode="bilinear", antialias=True)
    return batch.index_copy(0, index, F.interpolate(small, size=(side, side), mode="bilinear"))


def recolour(batch: Tensor, draw: Draw) -> Tensor:
    """Change light, contrast and colours of some of (B, 3, S, S); make some grey."""
    kept = draw.factor(CONTRAST, 1, 1)
    light = draw.factor(BRIGHTNESS, 1, 1) * draw.factor(CAST, 3, 1)
    colours = light * hue_turns(draw.host(-1, 1) * math.radians(HUE))  # (B, 3, 3)
    same, grey = draw.host(0, 1) >= RECOLOURED, draw.host(0, 1) < GREY
    kept[same], colours[same] = 1, np.eye(3)
    colours[grey] = colours[grey].mean(1, keepdims=True)
    contrast, matrix = draw.place(kept), draw.place(colours)
    mean = (matrix @ batch.mean((2, 3))[..., None]).mean(1, keepdim=True)  # (B, 1, 1)
    changed = torch.baddbmm((1 - contrast) * mean, contrast * matrix, batch.flatten(2))
    return changed.view_as(batch).clamp_(0, 255)


def hue_turns(angles: NDArray[np.float32]) -> NDArray:
    """Return matrices (B, 3, 3) that rotate the hue of RGB by angles in radians (B,), keeping
    their brightness: in JPEG's YCC, about the grey axis."""
    turn = np.zeros((len(angles), 3, 3), np.float32)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angles)
    turn[:, 2, 1] = np.sin(angles)
    turn[:, 1, 2] = -turn[:, 2, 1]
    to_ycc = np.array(_YCC, np.float32)
    return np.linalg.inv(to_ycc) @ turn @ to_ycc


def erase(batch: Tensor, draw: Draw) -> Tensor:
    """Fill a rectangle in some of (B, 3, S, S) with noise (random erasing, Zhong et al. 2020)."""
    side = batch.shape[-1]
    area, stretch = draw.uniform(*ERASED_AREA, 1), torch.exp(draw.uniform(-0.7, 0.7, 1))
    place = torch.arange(side, device=batch.device) / side  # (S,)

    def inside(extent: Tensor) -> Tensor:  # (B, S)
        start = draw.uniform(0, 1, 1) * (1 - extent)
        return (place >= start) & (place < start + extent)

    rows, columns = inside((area * stretch).sqrt()), inside((area / stretch).sqrt())
    mask = (draw.chosen(ERASED)[:, None] & rows)[:, None, :, None] & columns[:, None, None, :]
    return torch.where(mask, draw.noise(0, 255, *batch.shape[1:]), batch)


def compress(batch: Tensor, draw: Draw) -> Tensor:
    """Apply JPEG compression to some of (B, 3, S, S), each at its own quality."""
    some, quality = draw.some(COMPRESSED), draw.host(*QUALITY)
    if not len(some):
        return batch
    index = draw.place(some)
    return batch.index_copy(0, index, jpeg(batch[index], draw.place(quality[some])))


def jpeg(batch: Tensor, quality: Tensor) -> Tensor:
    """Quantise images' 8×8 cosine coefficients like JPEG (ITU T.81) at qualities (B,) up to 100.

    The tables are the standard's, scaled as in libjpeg; colours are not subsampled.
    """
    count, _, height, width = batch.shape
    to_ycc, to_rgb, standard, transform = (
        part.to(batch.device, non_blocking=True) for part in _constants()
    )
    ycc = torch.einsum("kc,bchw->bkhw", to_ycc, batch - 128).round()  # bytes
    ycc = F.pad(ycc, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = ycc.shape[2] // 8, ycc.shape[3] // 8
    blocks = ycc.reshape(count, 3, rows, 8, columns, 8).permute(0, 1, 2, 4, 3, 5)
    blocks = blocks.reshape(count, 3, rows * columns, 64)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    steps = ((standard * percent + 50) / 100).floor().clamp(1, 255)[:, :, None]  # (B, 3, 1, 64)
    rounded = (blocks @ transform.T).div(steps).round().mul(steps)  # (B, 3, blocks, 64)
    blocks = (rounded @ transform).reshape(count, 3, rows, columns, 8, 8)
    ycc = blocks.permute(0, 1, 2, 4, 3, 5).reshape(ycc.shape)[:, :, :height, :width]  # (B, 3, H, W)
    return (torch.einsum("ck,bkhw->bchw", to_rgb, ycc) + 128).clamp(0, 255)


def _constants() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return JPEG's colour transform and its inverse (3, 3), its tables (3, 64), and the cosine
    transform of a block's 64 pixels (64, 64), orthonormal."""
    to_ycc = torch.tensor(_YCC)
    place = torch.arange(8.0)
    waves = torch.cos(math.pi / 8 * place[:, None] * (place + 0.5)) / 2  # (8, 8)
    waves[0] /= math.sqrt(2)
    tables = torch.tensor(_TABLES, dtype=torch.float)[[0, 1, 1]]
    return to_ycc, torch.linalg.inv(to_ycc), tables, torch.kron(waves, waves)


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
