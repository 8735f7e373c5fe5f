"""agecli train MODEL: a command per model, made of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli.commands._options import Json, declared_options, make_command, setting_options
from agecli.commands._training import train_model
from agecli.config import CONFIGS

EXAMPLES = {
    "cnn": """\b
Examples:
  agecli train cnn --image-size 128 --amp
  agecli train cnn --objective groups --epochs 10 --run runs/groups
  agecli train cnn --init weights/cnn.safetensors --image-size 96 --epochs 6 --lr 3e-4
  agecli train cnn --resume runs/cnn
""",
    "capsnet": """\b
Examples:
  agecli train capsnet --vram-budget 4GB
  agecli train capsnet --image-size 128 --reconstruction
  agecli train capsnet --resume runs/capsnet
""",
    "resnet": """\b
Examples:
  agecli train resnet --amp
  agecli train resnet --arch resnet18 --init none --image-size 112 --lr auto
  agecli train resnet --init resnet34-b627a593.pth --freeze-epochs 2 --epochs 10
  agecli train resnet --resume runs/resnet
""",
    "dinov2": """\b
Examples:
  agecli train dinov2 --amp
  agecli train dinov2 --backbone facebook/dinov2-with-registers-small --views 4
  agecli train dinov2 --unfreeze 2 --grad-checkpoint
  agecli train dinov2 --backbone scratch:tiny --teacher cnn --lr 4e-4
""",
}

FILES = """\
Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
and last/, from which --resume goes on as if nothing had happened."""

ABOUT = {
    "cnn": f"""Train the convolutional network: four conv blocks, two dropouts, FC 512.

    {FILES}
    """,
    "capsnet": f"""Train the capsule network: one capsule per age group, found by dynamic routing.

    {FILES}
    """,
    "resnet": """Train a ResNet through fastai: its head first, then all layers at lower rates.

    Starts from ImageNet weights unless --init says otherwise. Fills a run folder, as
    `agecli train cnn` does; --lr auto adds lr_find.png.
    """,
    "dinov2": """Train a head on DINOv2: the frozen backbone sees each image once.

    Eight heads are trained at once on its features, at rates around --lr and decays from
    --weight-decay on, and the best on validation is kept. --unfreeze goes on with the last blocks.
    For the heads alone, --batch-size is that of the backbone's one pass, and --schedule, --ema,
    --accumulate, --grad-checkpoint, --layer-decay and --drop-path count for nothing.
    """,
}


def _own(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings from a TOML file or a run's config.json; options given here win.",
        ),
    ] = None,
    from_study: Annotated[
        Path | None,
        typer.Option(metavar="STUDY", help="Settings from the best trial of `agecli tune`."),
    ] = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config", help="Do not train: show all settings and where each comes from."
        ),
    ] = False,
    run: Annotated[Path | None, typer.Option(help="Folder to fill; runs/MODEL by default.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue a run with its own settings.")
    ] = None,
    memory_report: Annotated[
        bool,
        typer.Option(
            "--memory-report",
            help="Do not train: measure what a step of these settings needs, with --amp and "
            "--grad-checkpoint and without.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Declare the options of every training that are no settings of it."""


OWN = declared_options(_own)
COMMANDS = {
    model: make_command(model, train_model, setting_options(model) + OWN, ABOUT[model])
    for model in CONFIGS
}
