"""agecli evaluate: score weights on a split of a prepared data set."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agecli import distributed
from agecli.commands import _completion as completion
from agecli.commands import _options as options
from agecli.commands._options import flag
from agecli.config import FLIP, TrainConfig

if TYPE_CHECKING:
    from agecli.evaluation.outoffold import OutOfFold
    from agecli.evaluation.scoring import Evaluation
    from agecli.evaluation.suite import Suite

EXAMPLES = """\b
Examples:
  agecli evaluate runs/cnn
  agecli evaluate runs/cnn weights/cnn.safetensors --data data/utkface --plots plots
  agecli evaluate runs/cnn --json | jq .exact
  agecli evaluate cnn capsnet runs/cnn --report report
  agecli evaluate runs/cnn --robustness --photographs --report report
  agecli evaluate runs/fold-0 runs/fold-1 runs/fold-2 --data data/adience
  agecli evaluate runs/fold-0 runs/fold-1 runs/fold-2 --out-of-fold answers.csv
  agecli evaluate cnn runs/cnn --data data/utkface --data data/mine --report report
  agecli evaluate runs/cnn --gate "exact>=0.7" --gate "worst_slice>=0.5"
  agecli evaluate weights --split val --fit-ensemble
"""

GATE_FAILED = 4
"""The exit code if a --gate is not met."""

SEEN = {
    "test": "",
    "val": " (its best epoch was chosen on these images)",
    "train": " (it was trained on these)",
    "all": "",
}

Weights = Annotated[
    list[Path],
    typer.Argument(
        metavar="WEIGHTS", autocompletion=completion.weights,
        help="Weights files, run folders, or released models by name.",
    ),
]  # fmt: skip
DATA = [Path(TrainConfig.data)]
Split = Annotated[
    Literal["test", "val", "train", "all"],
    typer.Option(help="Split to score on; all: other data, without images seen in training."),
]
Folder = Path | None


def _folder(about: str) -> Any:
    return typer.Option(metavar="DIR", file_okay=False, help=about)


Plots = Annotated[Folder, _folder("Draw confusion matrices as PNG.")]
Report = Annotated[Folder, _folder("Write a report with all figures, as HTML and Markdown.")]
ShowFaces = Annotated[bool, flag("show-faces", "Show the images of the worst errors in --report.")]
Robustness = Annotated[bool, flag("robustness", "Also score perturbed images: rotated, dark, ...")]
Store = Annotated[bool, flag("store", "Store --robustness in the weights files' metadata.")]
Photographs = Annotated[
    bool, flag("photographs", "Also detect faces in larger pictures, like predict.")
]
OutOfFoldFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", dir_okay=False,
        help="Write each image's prediction by the run of its fold, doubtful labels first: a CSV "
        "file that --soft-labels accepts.",
    ),
]  # fmt: skip
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate", metavar="FIGURE>=X",
        help="Condition that every model has to meet, e.g. exact>=0.7; may be repeated.",
    ),
]  # fmt: skip
FitEnsemble = Annotated[
    bool, flag("fit-ensemble", "Fit the weight of each model, and store it beside the weights.")
]
Force = Annotated[
    bool, flag("force", "Also score models that may have seen these images, and mark them.")
]
Flip = Annotated[bool, typer.Option(help="Average predictions with the mirror image's.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per step.")]


def evaluate(
    weights: Weights,
    data: options.DataSets = DATA,
    split: Split = "test",
    as_json: options.Json = False,
    plots: Plots = None,
    report: Report = None,
    show_faces: ShowFaces = False,
    robustness: Robustness = False,
    store: Store = False,
    photographs: Photographs = False,
    out_of_fold: OutOfFoldFile = None,
    gates: Gates = None,
    fit_ensemble: FitEnsemble = False,
    force: Force = False,
    flip: Flip = FLIP,
    batch_size: BatchSize = TrainConfig.batch_size,
    device: options.Device = TrainConfig.device,
) -> None:
    """Score models on images they have not seen: accuracy, errors in years, calibration, cost.

    On other data than a model's own, images that it, its teacher or its initial weights have
    seen, and near copies of them, are left out and counted: its weights file has a fingerprint
    of each.

    Several models are compared with each other and with their ensemble, on each of several data
    sets; runs of `train --fold`, each on its own fold, by mean and standard deviation.
    With --json, prints a line per model; with several, one for the ensemble and one with their
    pairwise differences, or one for the folds; --robustness and --photographs add one each. Several
    processes of a launcher divide the images. Exit code 4: a --gate is not met.
    """
    from agecli.commands._tables import stage_bars
    from agecli.evaluation import across, outoffold
    from agecli.evaluation.report.page import write_page

    if out_of_fold:
        outoffold.check_folds(weights, data, split)
    if distributed.is_main() and (plots or report or out_of_fold):
        _check(plots, report, out_of_fold, weights, data, split)
    with stage_bars() as progress:
        suites = across.evaluate_each(
            *weights, data=data, split=split, flip=flip, batch_size=batch_size, device=device,
            force=force, robustness=robustness, store=store, photographs=photographs,
            gates=gates or (), fit=fit_ensemble, progress=progress,
        )  # fmt: skip
    if not distributed.is_main():
        return
    marks = {name: f"{name}: " * (len(suites) > 1) for name in suites}
    _warn(suites, marks)
    if found := str(next(iter(suites.values())).found):
        _say("wrote " * fit_ensemble + found)
    if plots:
        _plot(suites, plots)
    answers = None
    if out_of_fold:
        (suite,) = suites.values()
        answers = outoffold.gather(suite.models, suite.dataset)
        answers.write(out_of_fold)
        _say(f"wrote {out_of_fold}: {outoffold.describe(answers)}")
    if report:
        page = write_page(report, suites, show_faces=show_faces, answers=answers)[0]
        _say(f"wrote {page}")
    _show(suites, marks, as_json, answers)
    failures = [mark + text for name, mark in marks.items() for text in suites[name].failures]
    for text in failures:
        _say(f"--gate: {text}")
    if failures:
        raise typer.Exit(GATE_FAILED)


def _check(
    plots: Path | None, report: Path | None, out_of_fold: Path | None, weights: list[Path],
    data: list[Path], split: str,
) -> None:  # fmt: skip
    """Make the folders, and check before the work that nothing else will be overwritten."""
    from agecli.evaluation import outoffold
    from agecli.evaluation.names import data_names, row_names
    from agecli.evaluation.report.page import page_files
    from agecli.evaluation.report.plots import MARK
    from agecli.files import Output, check_outputs, marked

    models, sets, outputs = row_names(weights), data_names(data), []
    if plots:
        drawn = [path for paths in _plots(plots, models, sets, split).values() for path in paths]
        outputs += [Output("--plots", path, marked(MARK)) for path in drawn]
    if report:
        paths = page_files(report, models, sets)
        outputs += [Output("--report", path, marked(MARK)) for path in paths]
    if out_of_fold:
        outputs.append(Output("--out-of-fold", out_of_fold, marked(",".join(outoffold.FACTS))))
    for output in outputs:
        output.path.parent.mkdir(parents=True, exist_ok=True)
    check_outputs({output.path: output for output in outputs}.values())


def _plots(
    folder: Path, models: list[str], data: Collection[str], split: str
) -> dict[str, list[Path]]:
    """Return the plots of each data set: one per model, and last that of --robustness."""
    from agecli.evaluation.report.page import plot_folders

    drawn = [*(f"{name}-{split}-confusion.png" for name in models), "robustness.png"]
    places = plot_folders(folder, data).items()
    return {name: [place / plot for plot in drawn] for name, place in places}


def _warn(suites: Mapping[str, Suite], marks: Mapping[str, str]) -> None:
    for name, suite in suites.items():
        for model in suite.models:
            if model.may_have_seen:
                _say(f"warning: {marks[name]}{model.weights} may have seen these images (*)")
        if note := suite.left_out_note:
            _say(f"{marks[name]}{note}")
    if caution := next(iter(suites.values())).caution:
        _say(f"warning: {caution}")


def _show(
    suites: Mapping[str, Suite], marks: Mapping[str, str], as_json: bool, answers: OutOfFold | None
) -> None:
    """Print lines of JSON or tables."""
    from agecli.commands._console import out
    from agecli.commands._tables import lay_out
    from agecli.data.store import name_split
    from agecli.evaluation.report import sets, tables

    if as_json:
        for line in (line for suite in suites.values() for line in suite.lines()):
            typer.echo(json.dumps(line, allow_nan=False))
        if answers:
            typer.echo(json.dumps({"out_of_fold": answers.plain()}, allow_nan=False))
        return
    first = next(iter(suites.values())).models[0]
    where = name_split(first.split) + SEEN[first.split] * first.same_split
    if len(suites) > 1:
        title = f"{where[0].upper()}{where[1:]} of {len(suites)} data sets"
        out.print(lay_out(tables.across_grid(suites, title), narrow=True))
    for name, suite in suites.items():
        if len(suites) == 1:
            _show_models(suite, where)
        grids = [tables.folds_grid(suite.folds)] if suite.folds else []
        grids += [*sets.sets_grids(suite.rows), *tables.pairs_grids(suite.pairs)]
        if len(suite.rows) > 1 or len(suites) > 1:
            grids.append(tables.slices_grid(suite.rows, wide=False))
        if suite.robustness:
            grids.append(tables.robustness_grid(suite.robustness))
            grids += sets.robust_coverage_grids(suite.robustness)
        if suite.photographs:
            grids += tables.photographs_grids(suite.photographs, suite.names)
        for grid in grids:
            grid.title = marks[name] * bool(grid.title) + grid.title
            out.print(lay_out(grid))
    if answers:
        out.print(lay_out(tables.doubtful_grid(answers)), highlight=False)


def _show_models(suite: Suite, where: str) -> None:
    """Print all figures of one model, or a comparison of several."""
    from agecli.commands._console import out
    from agecli.commands._tables import confusion_table, lay_out
    from agecli.evaluation.report import tables

    if len(suite.rows) > 1:
        for grid in tables.model_grids(suite.rows, f"{len(suite.models)} models on {where}"):
            out.print(lay_out(grid))
        out.print(f"{tables.describe_decisions(suite.rows)}\n", highlight=False)
        return
    (row,) = suite.rows
    title = f"{_title(row)} on {where}, predicting {row.decision}"
    out.print(lay_out(tables.scores_grid(row.scores, title)))
    out.print(lay_out(tables.groups_grid(row.scores)))
    out.print(confusion_table(row.scores))
    out.print(lay_out(tables.slice_grid(row.slices, row.worst_slice)))


def _plot(suites: Mapping[str, Suite], folder: Path) -> None:
    from agecli.data.store import name_split
    from agecli.evaluation.report.plots import plot_confusion, plot_robustness

    first = next(iter(suites.values()))
    paths = _plots(folder, [row.name for row in first.rows], suites, first.rows[0].split)
    for name, suite in suites.items():
        *confusions, robustness = paths[name]
        for row, picture in zip(suite.rows, confusions, strict=True):
            scores = row.scores
            right = f"{scores.exact:.1%} exact of {scores.n:,} images"
            title = f"{_title(row)}, {name_split(row.split)}: {right}"
            plot_confusion(picture, scores.confusion, row.scheme.labels, title)
            _say(f"wrote {picture}")
        if suite.robustness:
            plot_robustness(robustness, suite.robustness)
            _say(f"wrote {robustness}")


def _title(row: Evaluation) -> str:
    return row.name if row.title in (row.model, row.name) else f"{row.name} ({row.title})"


def _say(text: str) -> None:
    typer.echo(f"agecli: {text}", err=True)
