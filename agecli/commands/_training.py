"""What every train command does with its options."""

from __future__ import annotations

from pathlib import Path

import typer

from agecli import distributed
from agecli.commands._settings import is_given
from agecli.config import TrainConfig, flag_of
from agecli.errors import UsageError


def train_model(context: typer.Context, kind: type[TrainConfig]) -> None:
    """Run what the options ask for."""
    from agecli.commands._display import show_result, training_display
    from agecli.commands._settings import settings_of, show_settings
    from agecli.training.train import resume, train

    options = context.params
    run, as_json = options["resume"], options["as_json"]
    if run:
        config = _open_run(context, run, kind)
        sources = dict.fromkeys(vars(config), str(run))
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
                done = resume(run, observer=display)
            else:
                done = train(config, run=options["run"], observer=display)
        if distributed.is_main():
            show_result(done, as_json)


def _open_run(context: typer.Context, folder: Path, kind: type[TrainConfig]) -> TrainConfig:
    """Read the settings of --resume's run. Raises UsageError for one of another model."""
    from agecli.training.runs import Run

    allowed = ("resume", "memory_report", "show_config", "as_json")
    for name in context.params:
        if name not in allowed and is_given(context, name):
            raise UsageError(f"--resume keeps the run's own settings: leave out {flag_of(name)}")
    config = distributed.from_main(lambda: Run.open(folder)[1])
    if not isinstance(config, kind):
        way_on = f"agecli train {config.model} --resume {folder}"
        raise UsageError(f"--resume: {folder} is a run of {config.model}: `{way_on}`")
    return config


def _report_memory(config: TrainConfig, as_json: bool, *, settled: bool) -> None:
    from agecli.commands._memory import show_memory_report
    from agecli.training.train import settle

    if not settled:
        if config.vram_budget:
            raise UsageError("--memory-report measures the settings given: leave out --vram-budget")
        config = settle(config, lambda text: typer.echo(f"agecli: {text}", err=True), dry=True)
    if distributed.is_main():
        show_memory_report(config, as_json)
