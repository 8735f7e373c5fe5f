"""agecli train aligner: the network that sets faces upright and centred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agecli.commands import _options as options
from agecli.config import AlignerConfig

if TYPE_CHECKING:
    from rich.table import Table

    from agecli.weights import AlignerMetadata

EXAMPLES = """\b
Examples:
  agecli train aligner
  agecli train aligner --epochs 12 --run runs/quick
  agecli train aligner --resume runs/aligner
"""


def aligner(
    context: typer.Context,
    data: options.Data = Path(AlignerConfig.data),
    epochs: options.Epochs = AlignerConfig.epochs,
    batch_size: options.BatchSize = AlignerConfig.batch_size,
    lr: options.LearningRate = AlignerConfig.lr,
    weight_decay: options.WeightDecay = AlignerConfig.weight_decay,
    ema: options.Ema = AlignerConfig.ema,
    seed: options.Seed = AlignerConfig.seed,
    device: options.Device = AlignerConfig.device,
    limit: options.Limit = AlignerConfig.limit,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    as_json: options.Json = False,
) -> None:
    """Train the aligner, which tells how a face lies in a picture, and whether it is one.

    It needs no labels: the data set's chips are aligned, so it learns to undo known disturbances.
    Fills a run folder as the other trainings do. predict uses weights/aligner.safetensors.
    """
    from agecli.commands._console import err, out
    from agecli.commands._display import training_display
    from agecli.commands._settings import given_options
    from agecli.commands._training import open_run
    from agecli.data.store import open_dataset
    from agecli.training.aligner import train
    from agecli.training.runs import Run

    if resume:
        place, config = open_run(context, resume, AlignerConfig)
    else:
        config = AlignerConfig(**given_options(context, AlignerConfig))
        open_dataset(Path(config.data))  # for its errors, before a folder is made
        place = Run.create(run or Run.free_folder(config.model), config)
    with training_display(config.model, place.folder) as display:
        result = train(config, place, display)
    if as_json:
        summary = {"weights": str(place.best), "metrics": result.metrics}
        out.print_json(json.dumps(summary | {"training": result.training}))
        return
    best = result.training["best_epoch"]
    err.print(f"best epoch {best}, weights in {place.best}", highlight=False, soft_wrap=True)
    if result.metrics:
        out.print(_figures(result))


def _figures(result: AlignerMetadata) -> Table:
    """Lay out the errors on the test split."""
    from rich import box
    from rich.table import Table

    figures = result.metrics
    title = f"aligner on {figures['n']:,} disturbed chips of the test split"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column("error: median, and what 95 % are below")
    for column in ("set anew", "worsened, too"):
        table.add_column(column, justify="right")
    columns = figures["placed"], figures["worsened"]
    for name, key, form in (
        ("tilt in degrees", "angle", "{:.1f}"), ("scale", "scale", "{:.1%}"),
        ("shift each way, of the side", "shift", "{:.1%}"),
    ):  # fmt: skip
        cells = [f"{form.format(c[key])}, {form.format(c[key + '95'])}" for c in columns]
        table.add_row(name, *cells)
    table.caption = f"faces against {figures['no_faces']:,} others: AUC {figures['auc']:.4f}"
    table.caption_justify = "left"
    return table
