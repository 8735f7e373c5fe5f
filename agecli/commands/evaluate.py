"""agecli evaluate: score weights on a split of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agecli import launch
from agecli.commands import _options as options
from agecli.config import FLIP, TrainConfig

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.evaluation.report import Evaluation
    from agecli.inference.model import Model

EXAMPLES = """\b
Examples:
  agecli evaluate runs/cnn
  agecli evaluate runs/cnn weights/cnn.safetensors --data data/utkface --plots plots
  agecli evaluate runs/cnn --json | jq .exact
"""

Split = Literal["test", "val", "train"]

_SEEN = {"val": "its best epoch was chosen on these images", "train": "it was trained on these"}


def evaluate(
    weights: Annotated[
        list[Path],
        typer.Argument(
            metavar="WEIGHTS", help="Weights files, run folders, or released models by name."
        ),
    ],
    data: options.Data = Path(TrainConfig.data),
    split: Annotated[Split, typer.Option(help="Images to score on.")] = "test",
    as_json: options.Json = False,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Draw the confusion matrices as PNG."),
    ] = None,
    flip: Annotated[
        bool, typer.Option(help="Average each image's answer with its mirror image's.")
    ] = FLIP,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images per step.")
    ] = TrainConfig.batch_size,
    device: options.Device = TrainConfig.device,
) -> None:
    """Score models on images they have not seen: accuracy, errors in years, confusion.

    With --json, one line per model. Several processes of a launcher share the images.
    """
    from agecli.commands._console import out
    from agecli.commands._scores import score_tables
    from agecli.data.store import open_dataset
    from agecli.evaluation.plots import plot_confusion
    from agecli.inference.predictor import Predictor
    from agecli.weights import named_weights

    dataset = open_dataset(data)
    paths = [path for name in weights for path in named_weights(name)]
    # One each, not one for all: the crops they want may differ, and here nothing is cropped.
    predictors = [Predictor([path], device=device) for path in paths]
    if plots and launch.is_main():
        plots.mkdir(parents=True, exist_ok=True)  # before the work, for its errors
    for file_name, predictor in zip(_names(paths), predictors, strict=True):
        model = predictor.models[0]
        result = _run(model, dataset, split, flip, batch_size)
        if not launch.is_main():
            continue
        name = file_name
        if result.title != result.model:
            name = f"{file_name} ({result.title})"
        if plots:
            title = f"{name}, {split} split: {result.scores['exact']:.1%} exact"
            title += f" of {result.scores['n']:,} images"
            picture = plots / f"{file_name}-{split}-confusion.png"
            plot_confusion(picture, result.scores["confusion"], result.scheme.labels, title)
            _say(f"wrote {picture}")
        if as_json:
            typer.echo(json.dumps(result.summary(), allow_nan=False))
        else:
            seen = f" ({_SEEN[split]})" if split in _SEEN else ""
            for table in score_tables(f"{name} on the {split} split{seen}", result.scores):
                out.print(table)


def _run(model: Model, dataset: Dataset, split: str, flip: bool, batch_size: int) -> Evaluation:
    from rich.progress import Progress

    from agecli.commands._console import err
    from agecli.evaluation.report import evaluate_model

    quiet = not err.is_terminal or not launch.is_main()
    with Progress(console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"{model.path}", total=None)
        result = evaluate_model(
            model, dataset, split, flip=flip, batch_size=batch_size, parallel=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if not result.same_split and launch.is_main():
        _say(
            f"warning: {model.path} was trained on another split than that of {dataset.folder}: "
            "it may have seen these images, so its figures may be too good"
        )
    return result


def _say(text: str) -> None:
    typer.echo(f"agecli: {text}", err=True)


def _names(paths: list[Path]) -> list[str]:
    """Name each weights file in words: its run's folder, or the file; numbered where alike."""
    names: list[str] = []
    for path in paths:
        is_run = path.name == "best.safetensors"
        name = stem = path.parent.resolve().name if is_run else path.stem
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
