"""Device, precision and accelerator of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from agecli import distributed
from agecli.config import TrainConfig
from agecli.memory import keep_freed_memory, limit_memory

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["no", "bf16", "fp16"]


def choose_device(config: TrainConfig) -> torch.device:
    """Choose the device; on CUDA, enforce --vram-budget as its limit."""
    from agecli.inference.pytorch import find_device

    device = torch.device(find_device(config.device))
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        limit_memory(config.budget_bytes())
    return device


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Set up accelerate on the device and in the precision of a configuration."""
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


def mixed_precision(config: TrainConfig, device: str) -> Precision:
    """Return the precision of --amp: bf16, or fp16 (with gradient scaling) on GPUs without it."""
    if not config.amp:
        return "no"
    fine = device == "cpu" or (
        device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16" if fine else "fp16"


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """Return the dtype of a precision from `mixed_precision`; None for full precision."""
    return {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def autocast(config: TrainConfig, device: str) -> torch.autocast:
    """Return the context that runs a model in the precision of --amp."""
    dtype = autocast_dtype(mixed_precision(config, device))
    return torch.autocast(device, dtype, enabled=dtype is not None)


def describe_device(config: TrainConfig, device: torch.device) -> str:
    """Describe the device, the precision and the number of processes in words."""
    name, precision = device.type, mixed_precision(config, device.type)
    if name == "cuda":
        name = torch.cuda.get_device_name(device)
    elif name == "cpu":
        name = f"cpu, {torch.get_num_threads()} threads"
    many = f" × {distributed.world()}" if distributed.world() > 1 else ""
    return name + many + ("" if precision == "no" else f", {precision}")
