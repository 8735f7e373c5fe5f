"""Build the model and the optimiser that a training configuration describes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from agecli.ages import Scheme, outputs_of
from agecli.config import Dinov2Config, TrainConfig
from agecli.models.blocks import to_channels_last
from agecli.models.capsnet import CapsNet
from agecli.registry import MODELS
from agecli.training.initial import starts_from_dlib

FINE_TUNING = 0.1
"""Learning rate of a pre-trained stem, or of a backbone's last block, relative to new layers'."""


def architecture_of(config: TrainConfig, scheme: Scheme) -> dict[str, Any]:
    """Return the model's constructor arguments, as stored in a weights file."""
    arguments = {"outputs": outputs_of(config.objective, scheme)} | config.architecture()
    if isinstance(config, Dinov2Config):
        from agecli.models.dinov2 import describe_backbone

        arguments["backbone"] = describe_backbone(
            config.backbone, config.revision, config.image_size, config.drop_path
        )
    return arguments


def build_model(config: TrainConfig, scheme: Scheme) -> nn.Module:
    """Build the model that a configuration describes, ready to be trained."""
    model = MODELS[config.model].build(**architecture_of(config, scheme))
    model.grad_checkpoint = config.grad_checkpoint  # type: ignore[assignment]
    if isinstance(config, Dinov2Config) and not config.from_scratch:
        model.train_last(config.unfreeze)  # type: ignore[operator]
    return to_channels_last(model).train()


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser for a model's weights."""
    groups: Any = model.parameters()
    if isinstance(config, Dinov2Config):
        groups = _layerwise(config, model)
    if isinstance(model, CapsNet) and model.body and starts_from_dlib(config):
        stem = list(model.body.parameters())
        new = [weights for weights in model.parameters() if all(weights is not one for one in stem)]
        groups = [{"params": new}, {"params": stem, "lr": FINE_TUNING * config.lr}]
    # Fused: one pass over the weights instead of a dozen.
    return torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay, fused=True)


def _layerwise(config: Dinov2Config, model: nn.Module) -> list[dict[str, Any]]:
    """Group a transformer's trainable weights by learning rate, head first; vectors do not decay.

    From scratch all have one rate. A pre-trained backbone's last block gets a tenth of the head's
    rate, and each earlier block --layer-decay times the next one's (Clark et al. 2020).
    """
    groups = []
    for depth, part in enumerate(model.layers_from_the_top()):  # type: ignore[operator]
        rate = config.lr
        if depth and not config.from_scratch:
            rate *= FINE_TUNING * config.layer_decay ** (depth - 1)
        trained = [p for p in part if p.requires_grad]
        for weights, decay in (
            ([p for p in trained if p.squeeze().ndim > 1], config.weight_decay),
            ([p for p in trained if p.squeeze().ndim <= 1], 0.0),
        ):
            if weights:
                groups.append({"params": weights, "lr": rate, "weight_decay": decay})
    return groups
