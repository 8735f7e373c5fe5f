"""Settings from files: a run's config.json, a search's best.toml, or a user's file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from agecli.config.base import TrainConfig
from agecli.config.fields import Settings, flag_of
from agecli.config.models import CONFIGS
from agecli.errors import UsageError, brief, pasteable
from agecli.reading import read_json, read_toml

FOUND = ("revision", "mean", "std", "soft_labels_sha256")
"""Settings that are derived from a backbone or a file rather than passed."""

TRIALS = 30
"""Default number of trials of a study."""

Single = str | float | int | bool | None
Table = dict[str, Single | list[Single] | dict[str, Single]]
"""Settings, or a search space, as read from files."""

BEST = "best.toml"
"""The file with the best settings so far in a study's folder."""


def configure(model: str | TrainConfig, **settings: Any) -> TrainConfig:
    """Make a configuration from a model's name, or from another one, with some settings changed.

    Raises UsageError for an unknown model or setting and for an invalid value.
    """
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    kind = CONFIGS.get(model) if isinstance(model, str) else type(model)
    if kind is None:
        raise UsageError(f"{model!r} is not a model: choose one of {', '.join(CONFIGS)}")
    check_names(settings, kind, "the call")
    return kind(**settings) if isinstance(model, str) else replace(model, **settings)


def read_config(values: Settings) -> TrainConfig:
    """Rebuild a configuration from a run's config.json; unknown settings raise UsageError."""
    model = values.get("model")
    kind = CONFIGS.get(model) if isinstance(model, str) else None
    if kind is None:
        raise UsageError(f"config.json has the model {brief(repr(model))}: upgrade agecli")
    check_names(values, kind, "config.json")
    return kind(**values)


def command_line(values: Settings) -> str:
    """Return the command that trains with a configuration; defaults are left out."""
    kind = CONFIGS[values["model"]]
    words = ["agecli", "train", values["model"]]
    for field in fields(kind):
        value = values.get(field.name, field.default)
        if field.name in FOUND or value == field.default:
            continue
        flag = flag_of(field.name)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, value]
    return pasteable(*words)


def read_settings(path: Path, kind: type[TrainConfig]) -> Settings:
    """Read a model's settings from a TOML or JSON file, which may name the model.

    Raises UsageError, with the file's name, for one that is unreadable, is another model's or has
    an unknown setting or an invalid value.
    """
    values = read_table(path)
    model = values.pop("model", kind.model)
    if model != kind.model:
        if model not in list(CONFIGS):
            raise UsageError(f"--config: {path} is for {brief(model)!r}, which is not a model")
        way_on = pasteable("agecli", "train", model, "--config", path)
        raise UsageError(f"--config: {path} is for {model}: `{way_on}`")
    check_names(values, kind, str(path))
    try:
        kind(**values)
    except UsageError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('--')}") from error
    return values


def read_table(path: Path) -> Settings:
    """Read a TOML or JSON file of named values. Raises UsageError for any other."""
    read = read_json if path.suffix == ".json" else read_toml
    try:
        return read(path, Table)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def check_names(values: Settings, kind: type[TrainConfig], origin: str) -> None:
    """Raise UsageError, with the origin's name, for settings that a model does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise UsageError(
            f"{origin} has unknown settings: {brief(', '.join(unknown))}; {kind.model} has "
            f"{', '.join(sorted(known - {'model'}))}"
        )
