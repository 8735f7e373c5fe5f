"""The models by name: plain data, without torch, so that help and errors can name them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelSpec:
    """A model: its name, title, class and trainer."""

    name: str
    title: str
    home: str  # "module:class"; the class takes the weights file's `architecture` as keywords
    trainer: str  # the module whose `settle` and `train` train it

    def build(self, **architecture: Any) -> nn.Module:
        """Construct the model from its architecture's keyword arguments."""
        module, name = self.home.split(":")
        return getattr(import_module(module), name)(**architecture)


MODELS = {
    spec.name: spec
    for spec in [
        ModelSpec(
            "cnn", "CNN, four conv blocks", "agecli.models.cnn:CNN", "agecli.training.pytorch"
        ),
        ModelSpec(
            "capsnet",
            "CapsNet, dynamic routing",
            "agecli.models.capsnet:CapsNet",
            "agecli.training.pytorch",
        ),
        ModelSpec("resnet", "ResNet", "agecli.models.resnet:ResNet", "agecli.training.fastai"),
        ModelSpec(
            "dinov2", "DINOv2", "agecli.models.dinov2:Dinov2", "agecli.training.transformers"
        ),
    ]
}

DEFAULT_MODEL = "cnn"
"""The model that is used by default."""
