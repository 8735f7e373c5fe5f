"""Stage 2: a small card. Which trainings fit 4 GB, CUDA's own context included?"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu.common import MODES, Rows, configurations, train

from agecli.config import TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import TrainingError
from agecli.memory import clear_device_cache
from agecli.training.memory_plan.budget import plan_training

CARD = 4 * 10**9
STEPS = 60


def run(data: Path, out: Path, device: str, *, quick: bool) -> None:
    """Write a row per model and mode, the last mode being --vram-budget 4GB."""
    rows = Rows(out / "small_card.json")
    if device == "cuda":
        context = measure_context()
        cap_allocator(CARD - context)
        rows.add(card=CARD, context=context, gpu=torch.cuda.get_device_name())
    steps = 3 if quick else STEPS
    for name, config in configurations(data, device, quick=quick):
        if name == "dinov2, frozen":
            continue
        config = replace(config, limit=steps * config.batch_size)
        for mode, settings in {**MODES, "budget": {"vram_budget": "4GB"}}.items():
            rows.add(model=name, mode=mode, **try_training(replace(config, **settings), device))
            clear_device_cache()


def try_training(config: TrainConfig, device: str) -> dict[str, Any]:
    """Train for some steps; return the rate and the peak, or why it did not fit."""
    row: dict[str, Any] = {}
    try:
        if config.vram_budget:
            config = plan_training(config, open_dataset(Path(config.data)), device).config
            names = ("batch_size", "accumulate", "amp", "grad_checkpoint")
            row["chosen"] = {name: getattr(config, name) for name in names}
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            history = train(config, Path(folder, "run"))[0].history()
        row["images_per_second"] = history[-1].images_per_second
        row["loss"] = history[-1].train_loss
    except TrainingError as error:
        row["error"] = str(error)
    if device == "cuda":
        row["peak"] = torch.cuda.max_memory_allocated()
        row["reserved"] = torch.cuda.max_memory_reserved()
    return row


def measure_context() -> int:
    """Return the bytes that CUDA takes beside the allocator, once its libraries have worked."""
    conv = torch.nn.Conv2d(3, 8, 3).cuda()
    conv(torch.zeros(8, 3, 64, 64, device="cuda")).flatten(1).mm(
        torch.zeros(8 * 62 * 62, 8, device="cuda")
    ).sum().backward()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def cap_allocator(most: int) -> None:
    """Cap CUDA's allocator for good: a training's own limit can only be lower."""
    own = torch.cuda.set_per_process_memory_fraction
    share = most / torch.cuda.get_device_properties(0).total_memory

    def capped(fraction: float, *device: Any) -> None:
        own(min(fraction, share), *device)

    torch.cuda.set_per_process_memory_fraction = capped
    capped(1.0)
