"""agecli evaluate: score weights on a split of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agecli import distributed
from agecli.commands import _options as options
from agecli.config import FLIP, TrainConfig
from agecli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from agecli.data.store import Dataset
    from agecli.evaluation.scoring import Evaluation
    from agecli.inference.model import Model

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
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Write a page with all figures: HTML, Markdown."
        ),
    ] = None,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Show the worst mistakes' pictures in --report.")
    ] = False,
    protocol: Annotated[
        bool, typer.Option("--protocol", help="Say which published figures these may stand beside.")
    ] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Score disturbed images, too: turned, dark, ...")
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
    model, and of several one for the ensemble and one with their differences in pairs; --protocol,
    --robustness and --photographs add one each. Several processes of a launcher share the images.
    Exit code 4: a --gate does not hold.
    """
    from agecli.commands import _robustness
    from agecli.commands._comparison import protocols_table
    from agecli.commands._console import out
    from agecli.data.store import open_dataset
    from agecli.evaluation import protocols, suite
    from agecli.evaluation.report.page import write_page
    from agecli.inference.predictor import Predictor
    from agecli.weights import named_weights

    dataset = open_dataset(data)
    paths = named_weights(*weights)
    names = _names(paths)
    if store:
        _robustness.check_store(paths, robustness=robustness, split=split, force=force)
    if not force:
        _refuse_other_splits(paths, dataset)
    # One each, not one for all: the crops they want may differ, and here nothing is cropped.
    predictors = [Predictor([path], device=device) for path in paths]
    if plots and distributed.is_main():
        plots.mkdir(parents=True, exist_ok=True)  # before the work, for its errors
    results = [_run(one.models[0], dataset, split, flip, batch_size) for one in predictors]
    extras = _robustness.measure(
        [one.models[0] for one in predictors], paths, names, dataset, split,
        robustness=robustness, photographs=photographs, flip=flip, batch_size=batch_size,
        device=device,
    )  # fmt: skip
    if not distributed.is_main():
        return
    if store:
        extras.store(paths)
    pairs = []
    if len(results) > 1:
        pairs = suite.pairs(names, results)
        if together := suite.make_ensemble(results):
            names, results = [*names, suite.ENSEMBLE], [*results, together]
    by_name = dict(zip(names, results, strict=True))
    judged = protocols.judge(by_name, dataset.receipt.sources) if protocol else []
    rows = [suite.describe(name, result) for name, result in by_name.items()]
    checks = (suite.check_gate(gate, row) for row in rows for gate in gates or ())
    failures = [text for text in checks if text]
    if plots:
        _plot(rows, split, plots)
        for picture in extras.plot(plots):
            _say(f"wrote {picture}")
    if report:
        files = write_page(
            report, f"{', '.join(names[: len(paths)])} on {dataset.folder.name}", rows, pairs,
            judged, by_name, dataset.ids[results[0].rows], dataset.images if show_faces else None,
            extras.sections(report),
        )  # fmt: skip
        _say(f"wrote {files[0]}")
    if as_json:
        lines = [{"pairs": pairs}] if pairs else []
        lines += [{"protocols": judged}] if judged else []
        for line in [*rows, *lines, *extras.lines()]:
            typer.echo(json.dumps(line, allow_nan=False))
    else:
        seen = f" ({_SEEN[split]})" if split in _SEEN else ""
        for table in _tables(f"the {split} split{seen}", rows, pairs):
            out.print(table)
        if judged:
            out.print(protocols_table(judged))
        for table in extras.tables():
            out.print(table)
    for text in failures:
        _say(f"--gate: {text}")
    if failures:
        raise typer.Exit(GATE_FAILED)


def _tables(where: str, rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> Iterator[Table]:
    from agecli.commands import _comparison as tables
    from agecli.commands._scores import score_tables
    from agecli.evaluation.suite import ENSEMBLE

    if len(rows) == 1:
        yield from score_tables(f"{_title(rows[0])} on {where}", rows[0])
    else:
        count = sum(row["model"] != ENSEMBLE for row in rows)
        yield from tables.comparison_tables(f"{count} models on {where}", rows)
        yield tables.pairs_table(pairs)
    if len({str([(s["by"], s["value"]) for s in row["slices"]]) for row in rows}) == 1:
        yield tables.slices_table(rows)


def _plot(rows: list[dict[str, Any]], split: str, folder: Path) -> None:
    from agecli.evaluation.report.plots import plot_confusion

    for row in rows:
        title = f"{_title(row)}, {split} split: {row['exact']:.1%} exact of {row['n']:,} images"
        picture = folder / f"{row['name']}-{split}-confusion.png"
        plot_confusion(picture, row["confusion"], list(row["per_group"]), title)
        _say(f"wrote {picture}")


def _title(row: dict[str, Any]) -> str:
    same = row["title"] in (row["model"], row["name"])
    return row["name"] if same else f"{row['name']} ({row['title']})"


def _refuse_other_splits(paths: list[Path], dataset: Dataset) -> None:
    """Refuse models that may have seen the images that they would be scored on."""
    from agecli.weights import read_metadata

    for path in paths:
        if read_metadata(path).split_hash != dataset.split_hash:
            raise DataError(
                f"{path} was trained on another split than that of {dataset.folder}: it may have "
                "seen these images, so its figures may be too good (--force scores and marks it)"
            )


def _run(model: Model, dataset: Dataset, split: str, flip: bool, batch_size: int) -> Evaluation:
    from rich.progress import Progress

    from agecli.commands._console import err
    from agecli.evaluation.scoring import evaluate_model

    quiet = not err.is_terminal or not distributed.is_main()
    with Progress(console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"{model.path}", total=None)
        result = evaluate_model(
            model, dataset, split, flip=flip, batch_size=batch_size, parallel=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if not result.same_split and distributed.is_main():
        _say(f"warning: {model.path} may have seen these images (*)")
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
