"""Settings from files: a run's config.json, a search's best.toml, or one's own."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from agecli.config.base import TrainConfig
from agecli.config.fields import Settings, flag_of
from agecli.config.models import CONFIGS
from agecli.errors import UsageError, pasteable

FOUND = ("revision", "mean", "std")
"""Settings that belong to a dinov2's backbone, and are found with it."""

TRIALS = 30
"""Trials of a study, unless more or fewer are asked for."""

BEST = "best.toml"
"""The file of a study's folder that has the best settings so far."""


def configure(model: str | TrainConfig, **settings: Any) -> TrainConfig:
    """Make a model's configuration by its name, or change one by some settings.

    Raises UsageError for an unknown model or setting and for a value that is refused.
    """
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    kind = CONFIGS.get(model) if isinstance(model, str) else type(model)
    if kind is None:
        raise UsageError(f"{model!r} is no model: there are {', '.join(CONFIGS)}")
    check_names(settings, kind, "the call")
    return kind(**settings) if isinstance(model, str) else replace(model, **settings)


def read_config(values: Settings) -> TrainConfig:
    """Rebuild a configuration from a run's config.json; unknown settings raise UsageError."""
    kind = CONFIGS.get(values.get("model", ""))
    if kind is None:
        raise UsageError(f"config.json has the model {values.get('model')!r}: upgrade agecli")
    check_names(values, kind, "config.json")
    return kind(**values)


def command_line(values: Settings) -> str:
    """Write the command that trains with a configuration's values; defaults are left out."""
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
    """Read a model's settings from a TOML or JSON file, which may name its model.

    Raises UsageError, with the file's name, for one that cannot be read, is another model's or has
    a setting that is unknown or has a wrong value.
    """
    values = read_table(path)
    model = values.pop("model", kind.model)
    if model != kind.model:
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
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no valid TOML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no named values")
    return values


def check_names(values: Settings, kind: type[TrainConfig], origin: str) -> None:
    """Raise UsageError, with the origin's name, for settings that a model does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise UsageError(
            f"{origin} has unknown settings: {', '.join(unknown)}; {kind.model} has "
            f"{', '.join(sorted(known - {'model'}))}"
        )
