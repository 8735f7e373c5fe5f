"""Stage 1: what a training step holds, by CUDA's allocator and by counting."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from gpu.common import MODES, SCHEME, Rows, configurations

from agecli.memory import clear_device_cache, is_out_of_memory
from agecli.training.memory_plan.footprint import images_per_second, measure


def run(data: Path, out: Path, device: str, *, quick: bool) -> None:
    """Write a row per model and mode."""
    rows = Rows(out / "memory.json")
    for name, config in configurations(data, device, quick=quick):
        for mode, settings in MODES.items():
            if name == "dinov2, frozen" and mode != "plain":
                continue
            trial = replace(config, **settings)
            counted = asdict(measure(trial, SCHEME, "cuda", counted=True))
            row = {"model": name, "mode": mode, "counted": counted}
            try:
                if device == "cuda":
                    row["measured"] = asdict(measure(trial, SCHEME, device))
                row["images_per_second"] = images_per_second(trial, SCHEME, device)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                row["error"] = "out of memory"
            clear_device_cache()
            rows.add(**row)
