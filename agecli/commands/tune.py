"""agecli tune: search the settings of a model's training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agecli.commands._options import Json, declared_options, make_command, setting_options
from agecli.config import CONFIGS, TrainConfig

if TYPE_CHECKING:
    from agecli.tuning.study import Study

EXAMPLES = {
    "cnn": """\b
Examples:
  agecli tune cnn --trials 12 --epochs 2 --image-size 64
  agecli tune cnn --objective both --workers 2 --timeout 3600
  agecli train cnn --from-study studies/cnn
""",
    "capsnet": """\b
Examples:
  agecli tune capsnet --image-size 64 --epochs 6 --limit 4000
  agecli train capsnet --from-study studies/capsnet
""",
    "resnet": """\b
Examples:
  agecli tune resnet --arch resnet18 --image-size 96 --epochs 5
  agecli train resnet --from-study studies/resnet
""",
    "dinov2": """\b
Examples:
  agecli tune dinov2 --trials 40
  agecli tune dinov2 --backbone scratch:tiny --epochs 20 --workers 2
  agecli train dinov2 --from-study studies/dinov2
""",
}

Metric = Literal["val_exact", "val_macro_f1", "val_loss"]
Pruner = Literal["hyperband", "median", "none"]

ABOUT = """Search the settings with which the {model} trains best, by Optuna's TPE.

    Options of the training that are given here are fixed; the others of the space are searched,
    starting from the defaults. Only validation images are looked at. The study goes on where it
    was stopped when the command is run again; STUDY/best.toml has the best settings so far.
    """


def _own(
    trials: Annotated[int, typer.Option(min=1, help="Trials that the study shall have.")] = 30,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Begin no trial after so long."),
    ] = None,
    metric: Annotated[
        Metric,
        typer.Option(help="What is searched for, at the epoch with the best validation loss."),
    ] = "val_exact",
    pruner: Annotated[
        Pruner, typer.Option(help="Who gives hopeless trials up, epoch by epoch.")
    ] = "hyperband",
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of what to search, instead of the model's."),
    ] = None,
    show_space: Annotated[
        bool, typer.Option("--show-space", help="Do not search: print the space as such a file.")
    ] = False,
    study: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the study; studies/MODEL by default."),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="PostgreSQL or MySQL database that several machines share; a file in the study's "
            "folder by default.",
        ),
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes that train at once.")] = 1,
    as_json: Json = False,
) -> None:
    """Declare the options of every search; those of the training follow."""


def tune_model(context: typer.Context, kind: type[TrainConfig]) -> None:
    """Run the search that the options ask for."""
    from agecli.commands._settings import given_options, is_given
    from agecli.config import write_toml
    from agecli.tuning.plan import choose_space, open_study

    asked = given_options(context, kind)
    params = context.params
    if params["show_space"]:
        space, _ = choose_space(kind, asked, params["space"], params["metric"])
        typer.echo(write_toml(space), nl=False)
        return
    goals = {name: params[name] for name in ("metric", "pruner") if is_given(context, name)}
    folder = params["study"] or Path("studies", kind.model)
    study = open_study(folder, params["storage"], kind, asked, goals, params["space"], _say)
    _search(study, asked, params)


def _search(study: Study, asked: dict[str, Any], params: dict[str, Any]) -> None:
    from agecli.commands._console import out
    from agecli.commands._study import search_display, study_tables
    from agecli.inference.pytorch import find_device
    from agecli.tuning.plan import PLACE
    from agecli.tuning.report import summarise, write_report
    from agecli.tuning.search import Search

    place = {name: asked[name] for name in PLACE if name in asked}
    gpus = 0
    if find_device(place.get("device", "auto")) == "cuda":
        import torch

        gpus = torch.cuda.device_count()
    with (
        search_display(study, params["workers"]) as show,
        Search(
            study, url=params["storage"], trials=params["trials"], workers=params["workers"],
            timeout=params["timeout"], place=place, gpus=gpus,
        ) as search,
    ):  # fmt: skip
        progress = search.run(show)
    summary = summarise(study, progress)
    files = write_report(study, progress, summary)
    if params["as_json"]:
        out.print_json(json.dumps(summary | {"files": [str(path) for path in files]}))
        return
    for table in study_tables(summary):
        out.print(table)
    _say(f"plots in {study.folder}, all of them in {files[-1]}")
    if summary["best"]:
        _say(f"train with the best settings: agecli train {study.spec.model} "
             f"--from-study {study.folder}")  # fmt: skip


def _say(text: str) -> None:
    typer.echo(f"agecli: {text}", err=True)


OWN = {option.name: option for option in declared_options(_own)}
COMMANDS = {
    model: make_command(
        model,
        tune_model,
        [*OWN.values(), *(option for option in setting_options(model) if option.name not in OWN)],
        ABOUT.format(model=model),
    )
    for model in CONFIGS
}
