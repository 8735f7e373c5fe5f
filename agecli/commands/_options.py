"""Options that several commands share, and those made from a configuration's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from agecli import config
from agecli.commands import _completion as completion
from agecli.commands._help import Group
from agecli.config.fields import (
    NOT_GIVEN,
    PANELS,
    Option,
    Panel,
    flag_of,
    help_of,
    mark_of,
    types_of,
)

DataSets = Annotated[
    list[Path],
    typer.Option(
        metavar="DIR", autocompletion=completion.datasets,
        help="Data set made by `agecli prepare`; may be repeated.",
    ),
]  # fmt: skip
Device = Annotated[config.Device, typer.Option(help="Device to run on.")]


def json_option(panel: Panel | None = None) -> Any:
    """Return the --json option of a command, in a panel of its help."""
    about = "Print the figures as JSON to stdout."
    return typer.Option("--json", help=about, rich_help_panel=panel)


Json = Annotated[bool, json_option()]

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


def flag(name: str, about: str) -> Any:
    """Return a switch without a --no form."""
    return typer.Option(f"--{name}", help=about)


class ModelCommands(Group):
    """A group with a command per model, each created with its many options on demand."""

    def add_command_of(self, app: typer.Typer, model: str) -> None:
        """Add a model's command to an app without any other."""
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the models."""
        return list(config.CONFIGS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Create a model's command; return None if there is no such model."""
        if cmd_name not in config.CONFIGS:
            return None
        app = typer.Typer(add_completion=False)
        self.add_command_of(app, cmd_name)
        return typer.main.get_command(app)


def make_command(
    model: str, run: Callable[[typer.Context, type[config.TrainConfig]], None],
    options: list[inspect.Parameter], about: str,
) -> Callable[..., None]:  # fmt: skip
    """Return a model's command, which passes its context and configuration class to `run`.

    about: the help text above the options.
    """

    def command(context: typer.Context, **_: Any) -> None:
        run(context, config.CONFIGS[model])

    context = inspect.Parameter("context", KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.Signature([context, *options])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__name__, command.__doc__ = model, about
    return command


def examples(command: str, options: Sequence[str]) -> str:
    """Format examples of a command for the end of its help."""
    return "\b\nExamples:\n" + "".join(f"  {command} {example}\n" for example in options)


def declared_options(function: Callable[..., None]) -> list[inspect.Parameter]:
    """Return the options that a function's signature declares."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return [parameter.replace(kind=KEYWORD_ONLY) for parameter in parameters]


def setting_options(model: str) -> list[inspect.Parameter]:
    """Make an option from each setting of a model's training, by panel, the model's own first.

    The help is the docstring under the configuration's field.
    """
    kind = config.CONFIGS[model]
    texts = help_of(kind)
    marks = {name: mark_of(hint) for name, hint in types_of(kind).items()}
    shared = {field.name for field in fields(config.AgesConfig)}

    def place(field: Field) -> tuple[int, bool]:
        mark = marks[field.name][1]
        panel = mark.panel if isinstance(mark, Option) else None
        return PANELS.index(panel) if panel else -1, field.name in shared

    options = []
    for field in sorted(fields(kind), key=place):
        hint, mark = marks[field.name]
        if mark == NOT_GIVEN:
            continue
        mark = mark or Option()
        flags = [] if mark.negated else [flag_of(field.name)]
        option = typer.Option(
            *flags, metavar=mark.metavar, parser=mark.parser, help=texts[field.name],
            show_default=field.default != "", rich_help_panel=mark.panel,
            autocompletion=completion.SETTINGS.get(field.name),
        )  # fmt: skip
        annotation = Annotated[hint, option]  # type: ignore[valid-type]
        parameter = partial(inspect.Parameter, kind=KEYWORD_ONLY)
        options.append(parameter(field.name, default=field.default, annotation=annotation))
    return options
