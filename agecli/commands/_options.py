"""Options that several commands share, and those that are made of a configuration's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from agecli import config
from agecli.config.fields import NOT_GIVEN, Option, flag_of, help_of, mark_of, types_of

Data = Annotated[Path, typer.Option(metavar="DIR", help="Data set of `agecli prepare`.")]
Device = Annotated[config.Device, typer.Option(help="Where to run.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")]

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


def flag(name: str, about: str) -> Any:
    """Return an option that is given or not, without a --no form."""
    return typer.Option(f"--{name}", help=about)


def make_command(
    model: str, run: Callable[[typer.Context, type[config.TrainConfig]], None],
    options: list[inspect.Parameter], about: str,
) -> Callable[..., None]:  # fmt: skip
    """Make the command of a model that hands its context and kind of configuration to `run`.

    about: the help above the options.
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
    """Lay out examples of a command for the end of its help."""
    return "\b\nExamples:\n" + "".join(f"  {command} {example}\n" for example in options)


def declared_options(function: Callable[..., None]) -> list[inspect.Parameter]:
    """Return the options that a function's signature declares."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return [parameter.replace(kind=KEYWORD_ONLY) for parameter in parameters]


@lru_cache
def setting_options(model: str) -> list[inspect.Parameter]:
    """Make an option of each setting of a model's training: the data, its own, the shared.

    The help is what the configuration's source says under the field.
    """
    kind = config.CONFIGS[model]
    texts, hints = help_of(kind), types_of(kind)
    place = {field.name: 2 for field in fields(config.AgesConfig)} | {"data": 0}
    options = []
    for field in sorted(fields(kind), key=lambda field: place.get(field.name, 1)):
        hint, mark = mark_of(hints[field.name])
        if mark == NOT_GIVEN:
            continue
        mark = mark or Option()
        flags = [] if mark.negated else [flag_of(field.name)]
        option = typer.Option(
            *flags, metavar=mark.metavar, parser=mark.parser, help=texts[field.name],
            show_default=field.default != "",
        )  # fmt: skip
        annotation = Annotated[hint, option]  # type: ignore[valid-type]
        parameter = partial(inspect.Parameter, kind=KEYWORD_ONLY)
        options.append(parameter(field.name, default=field.default, annotation=annotation))
    return options
