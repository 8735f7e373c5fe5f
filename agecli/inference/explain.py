"""Explanation of a prediction: a coarse heat map over the face crop.

The network's `explained_by` names the method: "Grad-CAM" (Selvaraju et al. 2017) and "capsules'
shares" need its `halves`, "attention" its `attention`. A network without one is not explained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from agecli.inference.model import Model
from agecli.inference.pytorch import LoadedModel

if TYPE_CHECKING:
    from torch import Tensor

    from agecli.models.blocks import Half


@dataclass(frozen=True)
class Explanation:
    """The explanation of a prediction."""

    heat: NDArray[np.floating]
    """(h, w), 0 to 1: how much each position of a layer contributed."""
    method: str
    """The method, in a word or two."""


def explain(model: Model, crop: np.ndarray, group: str) -> Explanation | None:
    """Compute the explanation of an age group for a uint8 face crop (S, S, 3).

    None for a network without a method, and for an exported model, whose layers are not
    accessible. Safe to call from several threads.
    """
    if not isinstance(model, LoadedModel):
        return None
    import torch

    from agecli.data.batches import to_input

    meta, net = model.metadata, cast(Any, model.module)
    x = torch.tensor(crop[None], device=model.device)
    x = to_input(x, meta.image_size, meta.mean, meta.std)  # (1, 3, size, size)
    method = getattr(net, "explained_by", "")
    if method == "attention":
        with torch.no_grad():
            heat = net.attention(x)
    elif method in WEIGHING:
        front, back = net.halves(meta.image_size)
        with torch.no_grad():
            features = front(x)
        heat = WEIGHING[method](features, back, _outputs(model, group))
    else:
        return None
    heat = heat.clamp(min=0)
    heat = (heat / heat.max().clamp(min=1e-12)).double().cpu().numpy()
    return Explanation(heat, method)


def grad_cam(features: Tensor, back: Half, outputs: list[int]) -> Tensor:
    """Weight feature maps (1, C, h, w) by the mean gradient of a score; returns (h, w).

    The score of one output is its logit, of several the logarithm of their summed exponentials.
    """
    gradient = _gradient(features, back, outputs)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (1, C, 1, 1)
    return (weights * features).sum(dim=1)[0]


def capsule_shares(capsules: Tensor, back: Half, outputs: list[int]) -> Tensor:
    """Return the contributions (G, G) of the primary capsules (1, types, positions, dim).

    The last routing iteration adds up votes, each linear in its capsule: gradient times capsule
    divides the group capsule's length (before squashing) among positions, up to a factor.
    """
    shares = (_gradient(capsules, back, outputs) * capsules).sum(dim=(1, 3))[0]  # (positions,)
    side = round(len(shares) ** 0.5)
    return shares.view(side, side)


WEIGHING = {"Grad-CAM": grad_cam, "capsules' shares": capsule_shares}
"""Functions from features (1, ...), the network after them and outputs to a map (h, w)."""


def _gradient(features: Tensor, back: Half, outputs: list[int]) -> Tensor:
    import torch

    with torch.enable_grad():
        features = features.detach().requires_grad_()
        score = back(features)[0, outputs].logsumexp(dim=0)
        (gradient,) = torch.autograd.grad(score, features)
    return gradient


def _outputs(model: Model, group: str) -> list[int]:
    """List the outputs of a group: itself, or its years."""
    place = model.scheme.labels.index(group)
    if not model.metadata.knows_years:
        return [place]
    low, high = model.scheme.bounds[place]
    return list(range(low, high + 1))
