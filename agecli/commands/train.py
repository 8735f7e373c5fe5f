"""agecli train MODEL: a command per model, made of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli.commands._options import (
    Json,
    declared_options,
    examples,
    make_command,
    setting_options,
)
from agecli.commands._training import train_model
from agecli.config import CONFIGS


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


def add_commands(app: typer.Typer) -> None:
    """Add a command per model."""
    for model, kind in CONFIGS.items():
        options = setting_options(model) + declared_options(_own)
        command = make_command(model, train_model, options, kind.__doc__ or "")
        app.command(model, epilog=examples(f"agecli train {model}", kind.examples))(command)
