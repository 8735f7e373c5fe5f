"""agecli tune: search for the settings with which a model trains best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli.commands import _completion as completion
from agecli.commands._help import Command
from agecli.commands._options import (
    ModelCommands,
    declared_options,
    examples,
    json_option,
    make_command,
    setting_options,
)
from agecli.config import CONFIGS, TRIALS, Metric, Pruner, TrainConfig

ABOUT = """Search for the settings with which the {model} trains best, by Optuna's TPE.

    Training options on the command line are fixed; the others in the space are searched,
    starting from the defaults. Only validation images are used. The study continues where it
    was stopped when the command is run again; STUDY/best.toml has the best settings so far.
    """


SEARCH = "Search"
"""The panel of the help for the search's own options."""


def _own(
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study in all.")] = TRIALS,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Start no trial after this time.", rich_help_panel=SEARCH
        ),
    ] = None,
    metric: Annotated[
        Metric,
        typer.Option(
            help="Metric to optimise, at the epoch with the best validation loss.",
            rich_help_panel=SEARCH,
        ),
    ] = "val_exact",
    pruner: Annotated[
        Pruner,
        typer.Option(help="Pruner, which stops unpromising trials early.", rich_help_panel=SEARCH),
    ] = "hyperband",
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file with the search space, instead of the model's.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    show_space: Annotated[
        bool,
        typer.Option(
            "--show-space",
            help="Do not search: print the search space as such a file.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the study; studies/MODEL by default.",
            autocompletion=completion.studies,
        ),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="PostgreSQL or MySQL database for several machines; by default a file in the "
            "study's folder.",
            rich_help_panel=SEARCH,
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that train trials in parallel.", rich_help_panel=SEARCH
        ),
    ] = 1,
    as_json: Annotated[bool, json_option("Run")] = False,
) -> None:
    """Declare the options of every search, which follow those of the training."""


def tune_model(context: typer.Context, kind: type[TrainConfig]) -> None:
    """Run the search that the options ask for."""
    from agecli.commands._settings import given_options, is_given
    from agecli.commands._study import search_display, show_summary
    from agecli.config import write_toml
    from agecli.tuning.plan import choose_space
    from agecli.tuning.tune import tune

    options = context.params
    asked = {k: v for k, v in given_options(context, kind).items() if k not in OWN}
    if options["show_space"]:
        space, _ = choose_space(kind, asked, options["space"], options["metric"])
        typer.echo(write_toml(space), nl=False)
        return
    own = {name: options[name] for name in OWN if name not in ("show_space", "as_json")}
    for name in ("metric", "pruner"):  # a study that continues has its own
        own[name] = options[name] if is_given(context, name) else None
    with search_display() as display:
        summary = tune(kind.model, observer=display, **own, **asked)
    show_summary(summary, options["as_json"])


OWN = {option.name: option for option in declared_options(_own)}


class TuneCommands(ModelCommands):
    """The commands of `agecli tune`."""

    def add_command_of(self, app: typer.Typer, model: str) -> None:
        """Add the command that searches a model's settings: training options, then its own."""
        kind = CONFIGS[model]
        settings = [option for option in setting_options(model) if option.name not in OWN]
        about = ABOUT.format(model=model)
        command = make_command(model, tune_model, [*settings, *OWN.values()], about)
        shown = examples(f"agecli tune {model}", kind.tune_examples)
        shown += f"  agecli train {model} --from-study studies/{model}\n"
        app.command(model, cls=Command, epilog=shown)(command)
