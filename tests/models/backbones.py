"""Small DINOv2 backbones, saved as the hub's are."""

from pathlib import Path

import pytest

SIDE, PATCH, WIDTH, BLOCKS = 28, 7, 24, 3


def save_backbone(folder: Path, *, registers: bool = False, processor: bool = True) -> Path:
    """Save a small random backbone with what its image processor says."""
    import torch
    from transformers import (
        BitImageProcessor,
        Dinov2Config,
        Dinov2Model,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
    )

    torch.manual_seed(1)
    sizes = dict(
        hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH, layerscale_value=1.0, initializer_range=0.2,
    )  # fmt: skip
    if registers:
        model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, num_register_tokens=2))
    else:
        model = Dinov2Model(Dinov2Config(**sizes))
    model.save_pretrained(folder)
    if processor:
        BitImageProcessor(
            size={"shortest_edge": 32},
            crop_size={"height": SIDE, "width": SIDE},
            image_mean=[0.5, 0.4, 0.3],
            image_std=[0.2, 0.3, 0.25],
        ).save_pretrained(folder)
    return folder


def count_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List the batch sizes that go through the backbone."""
    import torch

    from agecli.models.dinov2 import Dinov2

    seen: list[int] = []
    features = Dinov2.features

    def counted(self: Dinov2, x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return features(self, x)

    monkeypatch.setattr(Dinov2, "features", counted)
    return seen
