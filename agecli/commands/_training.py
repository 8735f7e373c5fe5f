"""What every train command does with its options."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from agecli import distributed
from agecli.commands._settings import is_given
from agecli.config import TrainConfig
from agecli.errors import UsageError
from agecli.registry import MODELS

if TYPE_CHECKING:
    from agecli.training.runs import Run

Config = TypeVar("Config", bound=TrainConfig)


def train_model(context: typer.Context, kind: type[TrainConfig]) -> None:
    """Run what the options ask for; those that are no settings of the training are taken out."""
    from agecli.commands._display import show_result, training_display
    from agecli.commands._memory import choose_for_budget, show_memory_report
    from agecli.commands._settings import settings_of, show_settings
    from agecli.data.store import open_dataset
    from agecli.training.runs import Run

    options: dict[str, Any] = context.params
    folder, resume = options["run"], options["resume"]
    memory_report, as_json = options["memory_report"], options["as_json"]
    if resume:
        run, config = open_run(context, resume, kind)
        sources = dict.fromkeys(vars(config), str(resume))
    else:
        config, sources = settings_of(context, kind, options["config"], options["from_study"])
    if options["show_config"]:
        if distributed.is_main():
            show_settings(config, sources, as_json)
        return
    if memory_report and config.vram_budget and not resume:
        raise UsageError("--memory-report measures the settings given: leave out --vram-budget")
    trainer = import_module(MODELS[config.model].trainer)
    if not resume:  # say what is wrong before anything is made
        if not memory_report:
            dataset = open_dataset(Path(config.data))
        settle = partial(trainer.settle, config, announce=_say, dry=memory_report)
        config = distributed.broadcast(distributed.main_first(settle))
    if memory_report:
        if distributed.is_main():
            show_memory_report(config, as_json)
        return
    if not resume:
        if config.vram_budget:
            config = choose_for_budget(config, dataset)
        run = distributed.from_main(
            lambda: Run.create(folder or Run.free_folder(config.model), config)
        )
    with training_display(config.model, run.folder) as display:
        result = trainer.train(config, run, display)
    if distributed.is_main():
        show_result(result, run, as_json)


def open_run(context: typer.Context, folder: Path, kind: type[Config]) -> tuple[Run, Config]:
    """Open the run of --resume. Raises UsageError for one of another model."""
    from agecli.training.runs import Run

    _refuse_settings(context)
    run, config = distributed.from_main(lambda: Run.open(folder))
    if not isinstance(config, kind):
        way_on = f"agecli train {config.model} --resume {folder}"
        raise UsageError(f"--resume: {folder} is a run of {config.model}: `{way_on}`")
    return run, config


def _say(text: str) -> None:
    typer.echo(f"agecli: {text}", err=True)


def _refuse_settings(context: typer.Context) -> None:
    """Refuse options that --resume would silently pass over."""
    allowed = ("resume", "memory_report", "show_config", "as_json")
    for name in context.params:
        if name not in allowed and is_given(context, name):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--resume keeps the run's own settings: leave out {flag}")
