"""Options that several commands share, named once; their defaults are in agecli.config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli import config

_RECIPE, _MACHINE, _RUN = "Recipe", "Machine", "Run"

Data = Annotated[
    Path, typer.Option(metavar="DIR", help="Data set of `agecli prepare`.")
]
ImageSize = Annotated[
    int, typer.Option(help="Side of the model's input in pixels.", rich_help_panel=_RECIPE)
]
Objective = Annotated[
    config.Objective,
    typer.Option(
        help="Train on age groups, on a distribution over years (gap ages too), or on both.",
        rich_help_panel=_RECIPE,
    ),
]
Epochs = Annotated[int, typer.Option(help="Most epochs.", rich_help_panel=_RECIPE)]
BatchSize = Annotated[int, typer.Option(help="Images per batch.", rich_help_panel=_RECIPE)]
Accumulate = Annotated[
    int, typer.Option(help="Batches per optimiser step.", rich_help_panel=_RECIPE)
]
LearningRate = Annotated[
    float, typer.Option("--lr", help="Highest learning rate.", rich_help_panel=_RECIPE)
]
WeightDecay = Annotated[float, typer.Option(help="AdamW weight decay.", rich_help_panel=_RECIPE)]
Schedule = Annotated[
    config.Schedule, typer.Option(help="Learning-rate schedule.", rich_help_panel=_RECIPE)
]
Dropout = Annotated[float, typer.Option(help="Dropout of the head.", rich_help_panel=_RECIPE)]
Balance = Annotated[
    config.Balance,
    typer.Option(help="Weight of rare groups in the loss.", rich_help_panel=_RECIPE),
]
LabelSmoothing = Annotated[
    float, typer.Option(help="Label smoothing over the groups.", rich_help_panel=_RECIPE)
]
LabelWidth = Annotated[
    float,
    typer.Option(help="Width of the age distribution, 1 = 0.6 + 6 % of the age.",
                 rich_help_panel=_RECIPE),
]  # fmt: skip
Ema = Annotated[
    float,
    typer.Option(help="Decay of the moving average of weights, 0 = none.", rich_help_panel=_RECIPE),
]
Patience = Annotated[
    int,
    typer.Option(help="Epochs without a better validation loss before stopping.",
                 rich_help_panel=_RECIPE),
]  # fmt: skip
Seed = Annotated[int, typer.Option(help="Seed of all randomness.", rich_help_panel=_RECIPE)]
Amp = Annotated[
    bool,
    typer.Option("--amp", help="Mixed precision: bf16, or fp16 where a GPU has no bf16.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
GradCheckpoint = Annotated[
    bool,
    typer.Option("--grad-checkpoint", help="Recompute activations: less memory, more time.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Device = Annotated[config.Device, typer.Option(help="Where to run.")]
LoaderWorkers = Annotated[
    int, typer.Option("--workers", help="Threads that gather batches.", rich_help_panel=_MACHINE)
]
Limit = Annotated[
    int,
    typer.Option(help="Use only so many images, for a trial; 0 = all.", rich_help_panel=_RUN),
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--run", help="Folder to fill; runs/MODEL by default.", rich_help_panel=_RUN),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Continue a run with its own settings.", rich_help_panel=_RUN),
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")]
