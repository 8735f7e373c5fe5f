"""What a training is put together of: device, precision, model, optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from agecli import distributed
from agecli.ages import IntArray, Scheme, outputs_of
from agecli.config import Dinov2Config, TrainConfig
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError
from agecli.memory import keep_freed_memory, limit_memory
from agecli.models.blocks import to_channels_last
from agecli.registry import MODELS

if TYPE_CHECKING:
    from accelerate import Accelerator

    from agecli.training.objectives import Objective

FINE_TUNING = 0.1
"""Rate of a pre-trained backbone's last block, as a share of its new head's."""


def open_shared(config: TrainConfig) -> Dataset:
    """Open a training's data set. Raises DataError where processes would have different ones."""
    dataset = open_dataset(Path(config.data))
    if dataset.split_hash != distributed.broadcast(dataset.split_hash):
        raise DataError(
            f"{config.data} is another data set here than for the first process: prepare it on all "
            "machines from the same files, with the same options"
        )
    return dataset


def architecture_of(config: TrainConfig, scheme: Scheme) -> dict[str, Any]:
    """Return the model's constructor arguments, as a weights file keeps them."""
    arguments = {"outputs": outputs_of(config.objective, scheme)} | config.architecture()
    if isinstance(config, Dinov2Config):
        from agecli.models.dinov2 import describe_backbone

        arguments["backbone"] = describe_backbone(
            config.backbone, config.revision, config.image_size, config.drop_path
        )
    return arguments


def rows_of(dataset: Dataset, split: str, objective: Objective, config: TrainConfig) -> IntArray:
    """Return the rows of a split that train or validate a model. Raises DataError for none."""
    rows = dataset.rows(split)
    rows = rows[objective.uses(dataset.ages[rows])]
    if config.limit:
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.limit])
    if len(rows) < (config.smallest_batch if split == "train" else 1):
        raise DataError(
            f"{dataset.folder} has {len(rows) or 'no'} {split} images to use: prepare more pictures"
        )
    return rows


def build_model(config: TrainConfig, scheme: Scheme) -> nn.Module:
    """Build the model that a configuration describes, ready to be trained."""
    model = MODELS[config.model].build(**architecture_of(config, scheme))
    model.grad_checkpoint = config.grad_checkpoint  # type: ignore[assignment]
    if isinstance(config, Dinov2Config) and not config.from_scratch:
        model.train_last(config.unfreeze)  # type: ignore[operator]
    return to_channels_last(model).train()


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser of a model's weights."""
    groups: Any = model.parameters()
    if isinstance(config, Dinov2Config):
        groups = _layerwise(config, model)
    # Fused: one pass over the weights instead of a dozen.
    return torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay, fused=True)


def _layerwise(config: Dinov2Config, model: nn.Module) -> list[dict[str, Any]]:
    """Group a transformer's trained weights by rate, the head's first; vectors do not decay.

    From scratch all have one rate. A trained backbone's last block gets a tenth of the head's
    rate, and each one in front of it --layer-decay of the next one's (Clark et al. 2020).
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


def mixed_precision(config: TrainConfig, device: str) -> Literal["no", "bf16", "fp16"]:
    """Name the precision of --amp: bf16, or fp16 (with gradient scaling) on GPUs without it."""
    if not config.amp:
        return "no"
    fine = device == "cpu" or (
        device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16" if fine else "fp16"


def autocast_dtype(precision: str) -> torch.dtype | None:
    """Return the type that `mixed_precision` names."""
    return {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def autocast(config: TrainConfig, device: str) -> torch.autocast:
    """Make the context that runs a model in the precision of --amp."""
    dtype = autocast_dtype(mixed_precision(config, device))
    return torch.autocast(device, dtype, enabled=dtype is not None)


def choose_device(config: TrainConfig) -> torch.device:
    """Choose the device, and take a --vram-budget on CUDA for the limit."""
    from agecli.inference.pytorch import find_device

    device = torch.device(find_device(config.device))
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        limit_memory(config.budget_bytes())
    return device


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Choose device and precision, and take a --vram-budget on CUDA for the limit."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    device = choose_device(config).type
    AcceleratorState._reset_state(reset_partial_state=True)  # one process may train twice
    distributed.join()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=mixed_precision(config, device),
        gradient_accumulation_steps=config.accumulate,
    )


def describe_device(device: torch.device, precision: str, processes: int = 1) -> str:
    """Say in words where, in what precision and on how many processes a model is trained."""
    name = device.type
    if name == "cuda":
        name = torch.cuda.get_device_name(device)
    elif name == "cpu":
        name = f"cpu, {torch.get_num_threads()} threads"
    many = f" × {processes}" if processes > 1 else ""
    return name + many + ("" if precision == "no" else f", {precision}")
