"""Where a model looked for its answer: a coarse map over the face crop.

The convolutional networks by Grad-CAM (Selvaraju et al. 2017); the capsule network by what its
primary capsules add to the group capsule; DINOv2 by the attention of its last block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agecli.inference.model import Model
from agecli.inference.pytorch import LoadedModel

if TYPE_CHECKING:
    from torch import Tensor

Half = Callable[["Tensor"], "Tensor"]

FINEST = 6
"""Positions along a side that a map has at least, where a model has such a layer."""

METHODS = {
    "cnn": "Grad-CAM",
    "resnet": "Grad-CAM",
    "capsnet": "capsules' shares",
    "dinov2": "attention",
}


def explain(model: Model, crop: np.ndarray, group: str) -> NDArray[np.floating] | None:
    """Return how much each place of a face crop (S, S, 3) counted for an age group, 0 to 1.

    (h, w), the places of the layer that is looked at; None for an exported model, whose layers
    cannot be looked into. Safe to call from several threads.
    """
    if not isinstance(model, LoadedModel):
        return None
    import torch

    from agecli.data.batches import to_input

    meta = model.metadata
    pixels = torch.from_numpy(np.ascontiguousarray(crop[None])).to(model.device)
    x = to_input(pixels, meta.image_size, meta.mean, meta.std)  # (1, 3, size, size)
    if meta.model == "dinov2":
        with torch.no_grad():
            heat = attention(model.module, x)
    else:
        front, back = halves(model.module, x)
        with torch.no_grad():
            features = front(x)
        weigh = capsule_shares if meta.model == "capsnet" else grad_cam
        heat = weigh(features, back, _outputs(model, group))
    heat = heat.clamp(min=0)
    return (heat / heat.max().clamp(min=1e-12)).double().cpu().numpy()


def grad_cam(features: Tensor, back: Half, outputs: list[int]) -> Tensor:
    """Weigh feature maps (1, C, h, w) by the mean gradient of a score behind them; (h, w).

    The score: of one output its logit, of several the logarithm of their summed exponentials.
    """
    gradient = _gradient(features, back, outputs)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (1, C, 1, 1)
    return (weights * features).sum(dim=1)[0]


def capsule_shares(capsules: Tensor, back: Half, outputs: list[int]) -> Tensor:
    """Return what the primary capsules (1, types, positions, dim) at each place add; (G, G).

    The last routing iteration adds up votes, each linear in its capsule: gradient times capsule
    divides the group capsule's length (before squashing) among the places, up to a factor.
    """
    shares = (_gradient(capsules, back, outputs) * capsules).sum(dim=(1, 3))[0]  # (positions,)
    side = round(len(shares) ** 0.5)
    return shares.view(side, side)


def attention(net: Any, x: Tensor) -> Tensor:
    """Return the [CLS] token's attention to the patches in the last block, mean over heads; (h, w).

    net: a `Dinov2`. x: a normalised image (1, 3, S, S).
    """
    import torch

    from agecli.models.dinov2 import projections

    block = net.backbone.encoder.layer[-1]
    hidden = net.backbone(pixel_values=x, output_hidden_states=True).hidden_states[-2]
    hidden = block.norm1(hidden)  # (1, tokens, D)
    query, key = (layer(hidden) for layer in projections(block.attention)[:2])
    heads = net.backbone.config.num_attention_heads
    query, key = (t[0].view(len(t[0]), heads, -1).transpose(0, 1) for t in (query, key))
    scores = query[:, :1] @ key.mT / key.shape[-1] ** 0.5  # (heads, 1, tokens)
    patches = torch.softmax(scores, dim=-1).mean(dim=0)[0, net.first_patch :]
    side = round(len(patches) ** 0.5)
    return patches.view(side, side)


def halves(net: Any, x: Tensor) -> tuple[Half, Half]:
    """Cut a model in two at the layer that is looked at: image to features, features to logits."""
    import torch

    from agecli.models.blocks import ConvNorm
    from agecli.models.capsnet import CapsNet
    from agecli.models.cnn import CNN

    if isinstance(net, CNN):
        blocks: Any = net.blocks[:-1]
        last: Any = net.blocks[-1]

        def front(x: Tensor) -> Tensor:
            for block in blocks:
                x = block(x)
            return torch.relu(ConvNorm.forward(last, x))  # (1, 256, S/8, S/8)

        return front, lambda features: net.head(last.pool(features))
    if isinstance(net, CapsNet):
        return net.capsules, net.classify
    depth = max(1, sum(x.shape[-1] / 2 ** (n + 1) >= FINEST for n in range(1, 5)))
    first, rest = net.body.stages[:depth], net.body.stages[depth:]
    return (
        torch.nn.Sequential(net.body.stem, *first),
        torch.nn.Sequential(*rest, net.head),
    )


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
