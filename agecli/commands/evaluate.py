"""agecli evaluate: score weights on a split of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agecli import distributed
from agecli.commands import _options as options
from agecli.config import FLIP, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from agecli.evaluation.scoring import Evaluation
    from agecli.evaluation.suite import Suite

EXAMPLES = """\b
Examples:
  agecli evaluate runs/cnn
  agecli evaluate runs/cnn weights/cnn.safetensors --data data/utkface --plots plots
  agecli evaluate runs/cnn --json | jq .exact
  agecli evaluate cnn capsnet runs/cnn --report report
  agecli evaluate runs/cnn --robustness --photographs --report report
  agecli evaluate runs/cnn --gate "exact>=0.7" --gate "worst_slice>=0.5"
"""

GATE_FAILED = 4
"""The exit code where a --gate does not hold."""

Split = Literal["test", "val", "train"]

_SEEN = {
    "test": "",
    "val": " (its best epoch was chosen on these images)",
    "train": " (it was trained on these)",
}


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
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Write a page with all figures: HTML, Markdown."
        ),
    ] = None,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Show the worst mistakes' pictures in --report.")
    ] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Score perturbed images, too: turned, dark, ...")
    ] = False,
    store: Annotated[
        bool,
        typer.Option("--store", help="Keep --robustness in the weights files' own metadata."),
    ] = False,
    photographs: Annotated[
        bool,
        typer.Option("--photographs", help="Find faces in larger pictures, too, as predict does."),
    ] = False,
    gates: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            metavar="FIGURE>=X",
            help="Condition on every model, as exact>=0.7 or worst_slice>=0.5; may be repeated.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Score models of other splits, too, and mark them.")
    ] = False,
    flip: Annotated[
        bool, typer.Option(help="Average each image's answer with its mirror image's.")
    ] = FLIP,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images per step.")
    ] = TrainConfig.batch_size,
    device: options.Device = TrainConfig.device,
) -> None:
    """Score models on images they have not seen: accuracy, errors in years, calibration, cost.

    Several models are compared with each other and with their ensemble. With --json, a line per
    model, and of several one for the ensemble and one with their differences in pairs; --robustness
    and --photographs add one each. Several processes of a launcher share the images. Exit code 4: a
    --gate does not hold.
    """
    from agecli.commands._console import out
    from agecli.commands._tables import stage_bars
    from agecli.evaluation import suite as library
    from agecli.evaluation.report.page import write_page

    for folder in (plots, report):
        if folder and distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)  # before the work, for its errors
    with stage_bars() as progress:
        suite = library.evaluate(
            *weights, data=data, split=split, flip=flip, batch_size=batch_size, device=device,
            force=force, robustness=robustness, store=store, photographs=photographs,
            gates=gates or (), progress=progress,
        )  # fmt: skip
    if not distributed.is_main():
        return
    for model in suite.models:
        if not model.same_split:
            _say(f"warning: {model.weights} may have seen these images (*)")
    if plots:
        _plot(suite, plots)
    if report:
        _say(f"wrote {write_page(report, suite, show_faces=show_faces)[0]}")
    if as_json:
        for line in suite.lines():
            typer.echo(json.dumps(line, allow_nan=False))
    else:
        for table in _tables(suite):
            out.print(table)
    for text in suite.failures:
        _say(f"--gate: {text}")
    if suite.failures:
        raise typer.Exit(GATE_FAILED)


def _tables(suite: Suite) -> Iterator[Table]:
    from agecli.commands._tables import confusion_table, lay_out
    from agecli.evaluation.report import tables

    first, rows = suite.models[0], suite.rows
    where = f"the {first.split} split{_SEEN[first.split]}"
    if len(rows) == 1:
        yield lay_out(tables.scores_grid(first.scores, f"{_title(first)} on {where}"))
        yield lay_out(tables.groups_grid(first.scores))
        yield confusion_table(first.scores)
        yield lay_out(tables.slice_grid(first.slices, first.worst_slice))
    else:
        grids = tables.model_grids(rows, f"{len(suite.models)} models on {where}")
        grids += [tables.pairs_grid(suite.pairs), tables.slices_grid(rows, wide=False)]
        yield from map(lay_out, grids)
    if suite.robustness:
        yield lay_out(tables.robustness_grid(suite.robustness))
    if suite.photographs:
        yield from map(lay_out, tables.photographs_grids(suite.photographs, suite.names))


def _plot(suite: Suite, folder: Path) -> None:
    from agecli.evaluation.report.plots import plot_confusion, plot_robustness

    for row in suite.rows:
        scores = row.scores
        title = f"{_title(row)}, {row.split} split: {scores.exact:.1%} exact of {scores.n:,} images"
        picture = folder / f"{row.name}-{row.split}-confusion.png"
        plot_confusion(picture, scores.confusion, row.scheme.labels, title)
        _say(f"wrote {picture}")
    if suite.robustness:
        plot_robustness(folder / "robustness.png", suite.robustness)
        _say(f"wrote {folder / 'robustness.png'}")


def _title(row: Evaluation) -> str:
    return row.name if row.title in (row.model, row.name) else f"{row.name} ({row.title})"


def _say(text: str) -> None:
    typer.echo(f"agecli: {text}", err=True)
