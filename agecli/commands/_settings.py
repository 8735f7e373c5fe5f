"""Merge a training's settings from the defaults, a file and the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import typer

from agecli.config import BEST, FOUND, Settings, TrainConfig, read_settings
from agecli.errors import UsageError


def given_options(context: typer.Context, kind: type[TrainConfig]) -> Settings:
    """Return a model's settings from the command line, as plain values."""
    return {f.name: context.params[f.name] for f in fields(kind) if is_given(context, f.name)}


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


def settings_of(
    context: typer.Context, kind: type[TrainConfig], file: Path | None, study: Path | None
) -> tuple[TrainConfig, dict[str, str]]:
    """Merge a configuration; return it with the origin of each setting that is not a default."""
    if file and study:
        raise UsageError("--config and --from-study exclude each other: pass one")
    if study:
        file = study / BEST
        if not file.is_file():
            raise UsageError(
                f"--from-study: {study} has no {BEST}: it is not a folder of `agecli tune "
                f"{kind.model}`, or none of its trials has finished"
            )
    values = read_settings(file, kind) if file else {}
    given = given_options(context, kind)
    if "backbone" in given:
        values = {name: value for name, value in values.items() if name not in FOUND}
    sources = dict.fromkeys(values, str(file)) | dict.fromkeys(given, "command line")
    return kind(**(values | given)), sources


def show_settings(config: TrainConfig, sources: dict[str, str], as_json: bool) -> None:
    """Print all settings of a training, and the origin of each."""
    from agecli.commands._console import out, show_json
    from agecli.commands._tables import lay_out
    from agecli.evaluation.report.grid import Grid

    rows = {
        name: {"value": value, "source": sources.get(name, "default")}
        for name, value in vars(config).items()
        if name != "model"
    }
    if as_json:
        show_json({"model": config.model} | rows)
        return
    grid = Grid(["setting", "value", "from"], f"agecli train {config.model}", texts=3)
    for name, row in rows.items():
        value, source = row["value"], row["source"]
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else json.dumps(value)
        grid.add(name, text, source, style="base" if source == "default" else "")
    out.print(lay_out(grid), highlight=False)
