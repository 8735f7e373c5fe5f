"""agecli evaluate: score weights on a split of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agecli.commands import _options as options
from agecli.config import TrainConfig

if TYPE_CHECKING:
    from rich.table import Table

    from agecli.data.store import Dataset
    from agecli.evaluation.report import Evaluation
    from agecli.inference.predictor import LoadedModel

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
        typer.Argument(metavar="WEIGHTS", help="Weights files, or folders of runs."),
    ],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Data set of `agecli prepare`.")] = Path(
        TrainConfig.data
    ),
    split: Annotated[Split, typer.Option(help="Images to score on.")] = "test",
    as_json: options.Json = False,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Draw the confusion matrices as PNG."),
    ] = None,
    flip: Annotated[
        bool, typer.Option(help="Average each image's answer with its mirror image's.")
    ] = True,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images per step.")
    ] = TrainConfig.batch_size,
    device: options.Device = TrainConfig.device,
) -> None:
    """Score models on images they have not seen: accuracy, errors in years, confusion.

    With --json, one line per model.
    """
    from agecli.commands._console import out
    from agecli.data.store import open_dataset
    from agecli.evaluation.plots import plot_confusion
    from agecli.inference.predictor import Predictor
    from agecli.weights import find_weights

    dataset = open_dataset(data)
    paths = [path for where in weights for path in find_weights(where=where)]
    # One each, not one for all: the crops they want may differ, and here nothing is cropped.
    predictors = [Predictor([path], device=device) for path in paths]
    if plots:
        plots.mkdir(parents=True, exist_ok=True)  # before the work, for its errors
    for name, predictor in zip(_names(paths), predictors, strict=True):
        result = _run(predictor.models[0], dataset, split, flip, batch_size)
        if plots:
            title = f"{name}, {split} split: {result.scores['exact']:.1%} exact"
            title += f" of {result.scores['n']:,} images"
            picture = plots / f"{name}-{split}-confusion.png"
            plot_confusion(picture, result.scores["confusion"], result.scheme.labels, title)
            _say(f"wrote {picture}")
        if as_json:
            typer.echo(json.dumps(result.summary(), allow_nan=False))
        else:
            for table in (_figures(name, result), _groups(result), _confusion(result)):
                out.print(table)


def _run(
    model: LoadedModel, dataset: Dataset, split: str, flip: bool, batch_size: int
) -> Evaluation:
    from rich.progress import Progress

    from agecli.commands._console import err
    from agecli.evaluation.report import evaluate_model

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(f"{model.path}", total=None)
        result = evaluate_model(
            model, dataset, split, flip=flip, batch_size=batch_size,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if not result.same_split:
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


def _figures(name: str, result: Evaluation) -> Table:
    from rich.markup import escape

    scores = result.scores
    low, high = scores["exact_interval"]
    seen = f" ({_SEEN[result.split]})" if result.split in _SEEN else ""
    title = f"{escape(name)} on the {result.split} split{seen}"
    table = _table(title, "", "images", "", "95 % interval")
    exact = f"[bold]{scores['exact']:.1%}[/]"
    interval = f"{low:.1%} – {high:.1%}"
    table.add_row("exact group", f"{scores['n']:,}", exact, interval)
    majority = f"always {scores['majority_group']} (majority baseline)"
    table.add_row(majority, "", f"{scores['majority']:.1%}", style="dim")
    table.add_row("exact or neighbouring group (1-off)", "", f"{scores['one_off']:.1%}")
    table.add_row("macro-F1", "", f"{scores['macro_f1']:.1%}")
    if "mae" in scores:
        table.add_row(
            "mean error of age (MAE)", f"{scores['n_ages']:,}", f"{scores['mae']:.2f} years"
        )
        table.add_row("age within 5 years (CS@5)", "", f"{scores['cs5']:.1%}")
    return table


def _groups(result: Evaluation) -> Table:
    table = _table("Per group", "group", "images", "precision", "recall", "F1")
    for label, group in result.scores["per_group"].items():
        figures = [f"{group[key]:.1%}" for key in ("precision", "recall", "f1")]
        table.add_row(label, f"{group['n']:,}", *figures)
    return table


def _confusion(result: Evaluation) -> Table:
    """Lay out the confusion matrix; a cell is the bluer, the larger its share of the row."""
    from rich.text import Text

    labels = result.scheme.labels
    texts = [f"{count:,}" for row in result.scores["confusion"] for count in row]
    width = max(map(len, [*texts, *labels]))
    table = _table("Images by true group (rows) and answered group (columns)", "")
    table.padding = 0
    for label in labels:  # aligned by hand: Rich would trim the margin that is to be coloured
        table.add_column(f" {label:>{width}} ", no_wrap=True)
    for label, row in zip(labels, result.scores["confusion"], strict=True):
        cells = []
        for count in row:
            part = count / sum(row) if count else 0.0
            red, green, blue = (round(a + (b - a) * part) for a, b in _BLUES)
            style = f"#ffffff on rgb({red},{green},{blue})" if count else "dim"
            text = f"{count:,}" if count else "·"
            cells.append(Text(f" {text:>{width}} ", style=style))
        table.add_row(label, *cells)
    return table


_BLUES = ((62, 10), (72, 110), (88, 230))  # slate to blue, per channel: white is readable on all


def _table(title: str, first: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
