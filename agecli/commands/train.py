"""agecli train MODEL: a command per model, made from its settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from agecli import distributed
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
from agecli.commands._settings import is_given
from agecli.config import CONFIGS, PLACE, TrainConfig, flag_of
from agecli.errors import UsageError, pasteable


def _own(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings from a TOML file or a run's config.json; other options override them.",
            rich_help_panel="Run",
        ),
    ] = None,
    from_study: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDY",
            help="Settings from the best trial of `agecli tune`.",
            rich_help_panel="Run",
            autocompletion=completion.studies,
        ),
    ] = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config",
            help="Do not train: show all settings and their origins.",
            rich_help_panel="Run",
        ),
    ] = False,
    run: Annotated[Path | None, typer.Option(help="Run folder; runs/MODEL by default.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume a run with its own settings; only --data, --device, --workers, --log-to "
            "may change.",
            autocompletion=completion.runs,
        ),
    ] = None,
    memory_report: Annotated[
        bool,
        typer.Option(
            "--memory-report",
            help="Do not train: measure the memory of a step with these settings, with and "
            "without --amp and --grad-checkpoint.",
            rich_help_panel="Memory",
        ),
    ] = False,
    as_json: Annotated[bool, json_option("Run")] = False,
) -> None:
    """Declare the options of every training that are not settings."""


class TrainCommands(ModelCommands):
    """The commands of `agecli train`."""

    def add_command_of(self, app: typer.Typer, model: str) -> None:
        """Add the command that trains a model."""
        kind = CONFIGS[model]
        options = setting_options(model) + declared_options(_own)
        command = make_command(model, train_model, options, kind.__doc__ or "")
        app.command(model, cls=Command, epilog=examples(f"agecli train {model}", kind.examples))(
            command
        )


def train_model(context: typer.Context, kind: type[TrainConfig]) -> None:
    """Run the training, or the report, that the options ask for."""
    from agecli.commands._display import show_result, training_display
    from agecli.commands._settings import settings_of, show_settings
    from agecli.training.train import resume, train

    options = context.params
    run, as_json = options["resume"], options["as_json"]
    if run:
        place = {name: options[name] for name in PLACE if is_given(context, name)}
        config = replace(_open_run(context, run, kind), **place)
        sources = dict.fromkeys(vars(config), str(run)) | dict.fromkeys(place, "command line")
    else:
        config, sources = settings_of(context, kind, options["config"], options["from_study"])
    if options["show_config"]:
        if distributed.is_main():
            show_settings(config, sources, as_json)
    elif options["memory_report"]:
        _report_memory(config, as_json, settled=bool(run))
    else:
        with training_display(config.model) as display:
            if run:
                done = resume(run, observer=display, **place)
            else:
                done = train(config, run=options["run"], observer=display)
        if distributed.is_main():
            show_result(done, as_json)


def _open_run(context: typer.Context, folder: Path, kind: type[TrainConfig]) -> TrainConfig:
    """Read the settings of the run to resume. Raises UsageError for another model's run."""
    from agecli.training.runs import Run

    allowed = ("resume", "memory_report", "show_config", "as_json", *PLACE)
    for name in context.params:
        if name not in allowed and is_given(context, name):
            raise UsageError(f"--resume keeps the run's own settings: leave out {flag_of(name)}")
    config = distributed.from_main(lambda: Run.open(folder)[1])
    if not isinstance(config, kind):
        way_on = pasteable("agecli", "train", config.model, "--resume", folder)
        raise UsageError(f"--resume: {folder} is a run of {config.model}: `{way_on}`")
    return config


def _report_memory(config: TrainConfig, as_json: bool, *, settled: bool) -> None:
    from agecli.commands._memory import show_memory_report
    from agecli.training.train import settle

    if not settled:
        if config.vram_budget:
            raise UsageError("--memory-report does not use --vram-budget: leave it out")
        config = settle(config, lambda text: typer.echo(f"agecli: {text}", err=True), dry=True)
    if distributed.is_main():
        show_memory_report(config, as_json)
