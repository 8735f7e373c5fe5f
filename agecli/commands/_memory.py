"""The table of --memory-report, and the settings that --vram-budget chose."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from agecli.commands._console import err, out, show_json
from agecli.commands._tables import lay_out
from agecli.config import PrepareConfig, TrainConfig
from agecli.evaluation.report.grid import Grid

if TYPE_CHECKING:
    from agecli.training.memory_plan.budget import Plan, Surveyed

MODES = {
    (False, False): "plain",
    (True, False): "AMP",
    (False, True): "checkpoint",
    (True, True): "both",
}


def show_memory_report(config: TrainConfig, as_json: bool) -> None:
    """Measure a training step as it is, with AMP, with checkpointing and both; print a table."""
    from agecli.ages import Scheme
    from agecli.inference.pytorch import find_device
    from agecli.training.memory_plan.budget import survey

    device = find_device(config.device)
    rows = []
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(f"measuring {MODES[False, False]}")
        for row in survey(config, Scheme.parse(PrepareConfig.scheme), device):
            rows.append(row)
            bar.update(task, description=f"measuring, {len(rows)} of {len(MODES)} done")
    if as_json:
        facts = {
            "model": config.model, "image_size": config.image_size,
            "batch_size": config.batch_size, "device": device, "measured": _method(device),
            "modes": [_record(row) for row in rows],
        }  # fmt: skip
        show_json(facts)
    else:
        out.print(_table(config, device, rows))


def plan_text(plan: Plan) -> str:
    """Return the options that fit a training to its --vram-budget, in words."""
    from agecli.memory import gigabytes

    chosen = plan.config
    settings = [f"--batch-size {chosen.batch_size}", f"--accumulate {chosen.accumulate}"]
    settings += ["--amp"] * chosen.amp + ["--grad-checkpoint"] * chosen.grad_checkpoint
    return (
        f"--vram-budget {chosen.vram_budget}: {' '.join(settings)}; peak "
        f"{gigabytes(plan.footprint.peak)} ({_method(plan.device)})"
    )


def _method(device: str) -> str:
    return "by CUDA's allocator" if device == "cuda" else "counted by tensors"


def _record(row: Surveyed) -> dict[str, Any]:
    """Return a mode's figures, bytes and images per second, as plain values for JSON."""
    from agecli.training.memory_plan.footprint import Footprint

    config = row.config
    return {
        "mode": MODES[config.amp, config.grad_checkpoint],
        "amp": config.amp,
        "grad_checkpoint": config.grad_checkpoint,
        **(asdict(row.footprint) if row.footprint else {f.name: None for f in fields(Footprint)}),
        "images_per_second": row.images_per_second,
    }


def _table(config: TrainConfig, device: str, rows: list[Surveyed]) -> Table:
    from agecli.memory import gigabytes

    title = (
        f"{config.title}, {config.image_size} px, batches of {config.batch_size}, {device}\n"
        f"Memory of a training step, {_method(device)}"
    )
    head = ["", "weights", "grads", "Adam", "EMA", "activations", "peak", "img/s"]
    grid = Grid(head, title)
    plain = rows[0].footprint
    for row in rows:
        mode = MODES[row.config.amp, row.config.grad_checkpoint]
        footprint = row.footprint
        if footprint is None:
            grid.add(mode, *["–"] * 5, "too large", "–")
            continue
        parts = [footprint.parameters, footprint.gradients, footprint.optimizer, footprint.average]
        activations = gigabytes(footprint.activations)
        if plain and row is not rows[0]:
            activations += f" {footprint.activations / plain.activations - 1:+.0%}"
        rate = row.images_per_second
        grid.add(
            mode, *map(gigabytes, parts), activations, gigabytes(footprint.peak),
            "–" if rate is None else f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}",
        )  # fmt: skip
    return lay_out(grid, narrow=True)
