"""Disturb aligned faces by known transforms, and make pictures of no face: the aligner's lessons.

All on whole batches, float (B, 3, S, S) with values 0 to 255, on their device. A pose, (B, 4), is
a face's tilt in radians (clockwise as seen), log scale, and shift right and down in sides of the
picture: where its frame lies.
"""

from __future__ import annotations

from math import ceil, log, pi

import torch
import torch.nn.functional as F
from torch import Tensor

ANGLE, SCALE, SHIFT = 45 * pi / 180, (0.6, 1.6), 0.25
"""The widest disturbance: tilt in radians, least and largest scale, shift in sides."""
NEAR, NEAR_SHARE = 0.3, 0.4
"""Part of the widest disturbance within which a second look starts, and the share of faces that
are disturbed so little."""
PERSPECTIVE = 0.08
REFLECTED, PASTED = 0.1, 0.45
"""Shares of pictures whose chip goes on as its mirror image, and as a piece of another chip."""
HIDDEN = 0.25
"""Part of a chip that may be missing at each side: its border is not to give its frame away."""
OVERSAMPLED = 1.25
"""Samples per pixel and direction, against aliasing."""


class Draw:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw from low to high."""
        device = self.generator.device
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """Draw true with a chance."""
        return self.uniform(0, 1, *shape) < share

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from low to high - 1."""
        return int(
            torch.randint(
                low, high, (1,), generator=self.generator, device=self.generator.device
            ).item()
        )


def draw_poses(count: int, draw: Draw, *, near: float = NEAR_SHARE) -> Tensor:
    """Draw poses (count, 4) over the widest disturbance; a share of them near to upright."""
    spread = torch.where(draw.chance(near, count), NEAR, 1.0)
    scale = draw.uniform(-1, 1, count) * spread * (log(SCALE[1] / SCALE[0]) / 2)
    return torch.stack(
        [
            draw.uniform(-ANGLE, ANGLE, count) * spread,
            scale + log(SCALE[0] * SCALE[1]) / 2 * spread,
            draw.uniform(-SHIFT, SHIFT, count) * spread,
            draw.uniform(-SHIFT, SHIFT, count) * spread,
        ],
        dim=1,
    )


def place(chips: Tensor, poses: Tensor, size: int, draw: Draw) -> Tensor:
    """Show chips (B, 3, S, S) in poses (B, 4), some mirrored, as pictures (B, 3, size, size).

    What lies beyond a chip is its border drawn out, its mirror image, or pieces of other chips.
    """
    count, device = len(chips), chips.device
    angle, scale, right, down = poses.unbind(1)
    side = round(size * OVERSAMPLED)
    steps = (torch.arange(side, device=device) + 0.5) / side - 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")  # (side, side), in sides of the picture
    cos, sin = (torch.cos(angle) / scale.exp() * 2), (torch.sin(angle) / scale.exp() * 2)
    cos, sin, right, down = (v[:, None, None] for v in (cos, sin, right, down))
    u = cos * (x - right) + sin * (y - down)  # (B, side, side): -1 to 1 inside the chip
    v = cos * (y - down) - sin * (x - right)
    lean = draw.uniform(-PERSPECTIVE, PERSPECTIVE, 2, count, 1, 1)
    depth = (1 + lean[0] * u + lean[1] * v).clamp(min=0.6)  # 1 in the middle: the pose holds there
    uv = torch.stack([u / depth, v / depth], dim=-1)  # (B, side, side, 2)

    low = -1 + 2 * HIDDEN * draw.uniform(0, 1, count, 1, 1, 2) ** 3
    high = 1 - 2 * HIDDEN * draw.uniform(0, 1, count, 1, 1, 2) ** 3
    inside = torch.maximum(torch.minimum(uv, high), low)
    some = slice(0, round(REFLECTED * count))
    width = (high - low)[some]
    folded = torch.remainder(uv[some] - low[some], 2 * width).sub_(width).abs_()
    inside[some] = high[some] - folded
    mirror = torch.where(draw.chance(0.5, count, 1, 1), -1.0, 1.0)
    inside[..., 0] *= mirror
    shown = F.grid_sample(chips, inside, padding_mode="border", align_corners=False)

    some = slice(count - ceil(PASTED * count), count)
    outside = torch.maximum(low[some] - uv[some], uv[some] - high[some]).amax(dim=-1)
    soft = draw.uniform(0.01, 0.3, len(outside), 1, 1) ** 1.5
    part = (outside / soft).clamp(0, 1)[:, None]  # (b, 1, side, side)
    pieces = _pieces(chips.roll(1, 0)[some], side, draw)
    shown[some] = torch.lerp(shown[some], pieces, part)
    return _shrink(shown, size)  # (B, 3, size, size)


def _pieces(chips: Tensor, side: int, draw: Draw) -> Tensor:
    """Give an enlarged, turned piece of each chip."""
    count = len(chips)
    zoom = draw.uniform(1.2, 5, count)
    reach = (zoom - 1) / 2
    poses = torch.stack(
        [
            draw.uniform(-pi, pi, count), zoom.log(),
            draw.uniform(-1, 1, count) * reach, draw.uniform(-1, 1, count) * reach,
        ],
        dim=1,
    )  # fmt: skip
    return F.interpolate(_turned(chips, poses, side // 2), size=side)


def _turned(images: Tensor, poses: Tensor, size: int) -> Tensor:
    """Show images in poses, their outside reflected, without oversampling."""
    angle, scale, right, down = poses.unbind(1)
    cos, sin = torch.cos(angle) / scale.exp(), torch.sin(angle) / scale.exp()
    matrix = torch.stack(
        [
            torch.stack([cos, sin, -2 * (cos * right + sin * down)], dim=1),
            torch.stack([-sin, cos, -2 * (cos * down - sin * right)], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3)
    grid = F.affine_grid(matrix, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _shrink(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def hide_face(chips: Tensor, size: int, draw: Draw) -> Tensor:
    """Make pictures of no face of chips: shuffled, upside down, enlarged pieces, off-centre."""
    count = len(chips)
    kind = draw.uniform(0, 1, count)
    poses = draw_poses(count, draw, near=0)
    down = kind < 0.25
    poses[:, 0] = torch.where(down, pi + poses[:, 0] * 1.5, poses[:, 0])
    piece = (kind >= 0.25) & (kind < 0.5)
    zoom = draw.uniform(2.6, 7, count)
    spots = draw.uniform(-1, 1, 2, count) * (zoom - 1) / 2
    away = (kind >= 0.5) & (kind < 0.75)
    direction, distance = draw.uniform(-pi, pi, count), draw.uniform(0.65, 1.0, count)
    off = torch.stack([direction.cos(), direction.sin()]) * distance
    for column in (0, 1):
        poses[:, 2 + column] = torch.where(piece, spots[column], poses[:, 2 + column])
        poses[:, 2 + column] = torch.where(away, off[column], poses[:, 2 + column])
    poses[:, 0] = torch.where(piece, poses[:, 0] * 4, poses[:, 0])
    poses[:, 1] = torch.where(piece, zoom.log(), poses[:, 1])
    pictures = place(chips, poses, size, draw)
    shuffled = (kind >= 0.75).nonzero()[:, 0]
    if len(shuffled):
        pictures[shuffled] = _shuffle(pictures[shuffled], draw)
    return pictures


def _shuffle(images: Tensor, draw: Draw) -> Tensor:
    """Cut images into 2×2 or 4×4 tiles and lay them anew, all in one order."""
    cuts = (2, 4)[draw.whole(0, 2)]
    count, _, side, _ = images.shape
    tile = side // cuts
    tiles = images.view(count, 3, cuts, tile, cuts, tile).permute(0, 2, 4, 1, 3, 5)
    tiles = tiles.reshape(count, cuts * cuts, 3, tile, tile)
    order = (torch.arange(cuts * cuts, device=images.device) + draw.whole(1, cuts * cuts)) % (
        cuts * cuts
    )
    if cuts > 2:
        order = torch.randperm(cuts * cuts, generator=draw.generator, device=images.device)
    tiles = tiles[:, order].view(count, cuts, cuts, 3, tile, tile)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, side, side)


def turn_any(images: Tensor, size: int, draw: Draw) -> Tensor:
    """Show images of no face in any tilt and place, as they are or enlarged up to 3×."""
    count = len(images)
    zoom = draw.uniform(0.9, 3, count)
    reach = (zoom - 0.9) / 2
    poses = torch.stack(
        [
            draw.uniform(-pi, pi, count) * draw.chance(0.7, count), zoom.log(),
            draw.uniform(-1, 1, count) * reach, draw.uniform(-1, 1, count) * reach,
        ],
        dim=1,
    )  # fmt: skip
    return _shrink(_turned(images, poses, round(size * OVERSAMPLED)), size)


def worsen(images: Tensor, draw: Draw) -> Tensor:
    """Change light and colours, lower the resolution, hide a part, add noise; in place."""
    count, _, side, _ = images.shape
    for _ in range(3):  # three slices, each at its own resolution
        few = slice(first := draw.whole(0, count), first + count // 10 + 1)
        low = draw.whole(side // 4, side)
        small = F.interpolate(images[few], size=(low, low), mode="bilinear", antialias=True)
        images[few] = F.interpolate(small, size=(side, side), mode="bilinear")
    covered = draw.chance(0.15, count, 1, 1, 1) * _rectangles(count, side, draw)
    colour = draw.uniform(0, 255, count, 3, 1, 1)
    images = torch.lerp(images, colour.expand_as(images), covered)
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(images, grey, draw.chance(0.3, count, 1, 1, 1).float())
    images = images * draw.uniform(0.75, 1.25, count, 3, 1, 1)  # a colour cast
    gamma = torch.exp(draw.uniform(-0.7, 0.7, count, 1, 1, 1))
    images = 255 * (images / 255).clamp(0, 1) ** gamma
    images = images * torch.exp(draw.uniform(-0.7, 0.35, count, 1, 1, 1))
    images = images + draw.uniform(-30, 40, count, 1, 1, 1) * draw.chance(0.5, count, 1, 1, 1)
    noise = torch.randn(images.shape, generator=draw.generator, device=images.device)
    images = images + noise * draw.uniform(0, 1, count, 1, 1, 1) ** 3 * 10
    return images.clamp_(0, 255)


def _rectangles(count: int, side: int, draw: Draw) -> Tensor:
    """Give masks (count, 1, side, side) of a rectangle each, a tenth to half a side long."""
    at = (torch.arange(side, device=draw.generator.device) + 0.5) / side

    def span() -> Tensor:  # (count, side)
        extent = draw.uniform(0.1, 0.5, count, 1)
        start = draw.uniform(0, 1, count, 1) * (1 - extent)
        return (at >= start) & (at < start + extent)

    return (span()[:, None, :, None] & span()[:, None, None, :]).float()
