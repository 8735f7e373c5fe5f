"""Small untrained models of every kind, as weights files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from agecli.ages import Scheme
from agecli.config import DETECTOR, FACE_MARGIN, IMAGENET_MEAN, IMAGENET_STD
from agecli.data.seen import VERSION, Prints
from agecli.registry import MODELS
from agecli.weights import FINGERPRINTS, Metadata, read_metadata, save_weights

SIDE = 32
SIZES: dict[str, dict[str, Any]] = {
    "cnn": {"outputs": 101, "image_size": SIDE},
    "capsnet": {"outputs": 8, "image_size": SIDE},
    "resnet": {"outputs": 101, "arch": "resnet18"},
    "dinov2": {
        "outputs": 101,
        "backbone": {
            "model_type": "dinov2", "hidden_size": 24, "num_hidden_layers": 2, "image_size": 28,
            "num_attention_heads": 2, "patch_size": 8, "initializer_range": 0.2,
        },
    },
}  # fmt: skip
METRICS = {
    "n": 1516, "exact": 0.75, "exact_interval": [0.728, 0.771], "one_off": 0.958,
    "macro_f1": 0.666, "majority": 0.406, "majority_group": "25-32", "n_ages": 2140, "mae": 5.108,
    "cs5": 0.636, "per_group": {"0-2": {"n": 144, "precision": 0.95, "recall": 0.92, "f1": 0.935}},
}  # fmt: skip


def write_model(path: Path, name: str = "cnn", **changes: Any) -> Path:
    """Write an untrained model's weights file; its answers are far from even."""
    import torch

    torch.manual_seed(1)
    model = MODELS[name].build(**SIZES[name])
    with torch.no_grad():
        for module in model.modules():  # batch norms that do something
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    metadata = Metadata(
        model=name,
        architecture=SIZES[name],
        objective="margin" if name == "capsnet" else "both",
        scheme=Scheme.parse("adience8").labels,
        image_size=SIDE,
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        crop={"detector": DETECTOR, "margin": FACE_MARGIN},
        metrics=METRICS,
        split_hash="0123456789abcdef" * 4,
        training={"data": ["UTKFace"], "train_images": 16709, "init": "random", "epochs": 36},
    )
    save_weights(path, model.state_dict(), Metadata(**(vars(metadata) | changes)))
    return path


def add_fingerprints(path: Path, prints: Prints) -> Path:
    """Write into a weights file what its model has seen."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(path) | {FINGERPRINTS: torch.from_numpy(prints)}
    save_weights(path, tensors, replace(read_metadata(path), fingerprints=VERSION), half=False)
    return path
