"""How well an aligner does: its errors on disturbed chips, and how it tells faces from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agecli.ages import FloatArray
from agecli.data.batches import Batches, resize
from agecli.inference.align import Estimates, Network, estimate
from agecli.training import disturb
from agecli.training.disturb import Draw
from agecli.training.nonfaces import cut_samples, draw_pictures

SIDE = 160
"""Side in pixels of the pictures that an aligner is tested on."""
NO_FACES = 500
"""Pictures of no face that it is tested on: drawn ones, and as many pieces of sample pictures."""


def measure(network: Network, batches: Batches) -> dict[str, Any]:
    """Test an aligner as `predict` runs it, on chips disturbed over the whole range.

    Gives medians and 95th percentiles of the errors (angle in degrees, scale as a part, shift in
    sides of the picture, each way) for chips that are set anew alone, and for worsened ones, too;
    and the area under the curve (AUC) of the latter's confidence against pictures of kinds that no
    training sees.
    """
    draw = Draw(torch.Generator().manual_seed(0))
    poses, clear, worse = [], [], []
    for images, _ in batches.epoch():
        poses.append(disturb.draw_poses(len(images), draw, near=0))
        chips = resize(images, SIDE).contiguous()
        pictures = disturb.place(chips, poses[-1], SIDE, draw)
        clear.append(estimate(_bytes(pictures), network))
        worse.append(estimate(_bytes(disturb.worsen(pictures, draw)), network))
    true = torch.cat(poses).numpy()
    count = min(NO_FACES, len(true))
    logos = draw_pictures(count, SIDE, 0, held=True)
    samples = cut_samples(count, SIDE, 0)
    others = np.concatenate([estimate(some, network).confidence for some in (logos, samples)])
    confidence = np.concatenate([answer.confidence for answer in worse])
    return {
        "placed": errors(_poses_of(clear), true),
        "worsened": errors(_poses_of(worse), true),
        "auc": area_under_curve(confidence, others),
        "n": len(true),
        "no_faces": len(others),
    }


def errors(found: FloatArray, true: FloatArray) -> dict[str, float]:
    """Give the median and the 95th percentile of the errors of poses (N, 4)."""
    turn = np.degrees(found[:, 0] - true[:, 0])
    each = {
        "angle": np.abs((turn + 180) % 360 - 180),
        "scale": np.abs(np.expm1(found[:, 1] - true[:, 1])),
        "shift": np.abs(found[:, 2:] - true[:, 2:]),
    }
    return {
        name + suffix: round(float(np.quantile(values, share)), 5)
        for name, values in each.items()
        for suffix, share in (("", 0.5), ("95", 0.95))
    }


def area_under_curve(positive: FloatArray, negative: FloatArray) -> float:
    """Give the chance that a positive's score is above a negative's; ties count half."""
    ranks = np.sort(negative)
    below, to = np.searchsorted(ranks, positive), np.searchsorted(ranks, positive, "right")
    return round(float((below + to).mean() / 2 / len(negative)), 5)


def _poses_of(answers: list[Estimates]) -> FloatArray:
    return np.concatenate(
        [
            np.column_stack([np.radians(some.angle), np.log(some.scale), some.shift])
            for some in answers
        ]
    )  # (N, 4)


def _bytes(pictures: Tensor) -> NDArray[np.uint8]:
    return pictures.permute(0, 2, 3, 1).byte().numpy()  # (B, S, S, 3)
