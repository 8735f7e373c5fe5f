"""The README of a folder of weights: each file, its accuracy, and how to train it again."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from agecli.config import command_line
from agecli.errors import WeightsError, pasteable
from agecli.evaluation.report.grid import Grid
from agecli.evaluation.report.render import fill_markdown
from agecli.evaluation.report.tables import megabytes, share, span, years
from agecli.exporting.card import scores_of, sources_of
from agecli.inference.fitted import find_fitted
from agecli.weights import SUFFIXES, Metadata, read_metadata

INDEX = "Made by `agecli export "
"""The start of a README of ours, below its title."""


def folder_readme(folder: Path) -> str:
    """Return the README (Markdown) of a folder of weights; every figure comes from a file.

    Raises WeightsError for a folder without weights and for a damaged file.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not files:
        raise WeightsError(f"{folder} contains no weights: export some into it first")
    models = {path: read_metadata(path) for path in files}
    said: dict[tuple[int, str, float], list[str]] = {}
    for path, metadata in models.items():
        if one := scores_of(metadata):
            said.setdefault((one.n, one.majority_group, one.majority), []).append(f"`{path.name}`")
    trainings = (
        (path.name, metadata, _lines(_trainings(metadata.training), f"runs/{path.stem}"))
        for path, metadata in models.items()
    )
    return fill_markdown(
        Path(__file__).with_name("index.md.j2"),
        made=pasteable("agecli", "export", folder.resolve().name, "--index"),
        models=_models(models), ensemble=find_fitted(files).fitted, said=said,
        remembers=[f"`{path.name}`" for path, metadata in models.items() if metadata.fingerprints],
        trainings=[one for one in trainings if one[2]],
        sources=list(dict.fromkeys(chain(*map(sources_of, models.values())))),
    )  # fmt: skip


def _models(models: dict[Path, Metadata]) -> Grid:
    grid = Grid(["file", "model", "size", "exact", "95 %", "1-off", "macro-F1", "MAE"], texts=2)
    for path, metadata in models.items():
        figures = [""] * 5
        if scores := scores_of(metadata):
            figures = [
                share(scores.exact), span(scores.exact_interval), share(scores.one_off),
                share(scores.macro_f1), years(scores.mae),
            ]  # fmt: skip
        what = f"{metadata.described}, {metadata.image_size} px"
        grid.add(f"`{path.name}`", what, megabytes(path.stat().st_size), *figures)
    return grid


def _lines(trainings: list[dict[str, Any]], run: str) -> list[str]:
    """Return a command for each training, which starts from the run of the one before it."""
    lines = []
    for number, config in enumerate(trainings, start=1):
        start = {"init": f"{run}-{number - 1}"} if number > 1 else {}
        folder = ["--run", f"{run}-{number}"] if number < len(trainings) else []
        lines.append(" ".join([command_line(config | start), pasteable(*folder)]).strip())
    return lines


def _trainings(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configurations that led to weights, the first training first."""
    earlier = _trainings(training["before"]) if training.get("before") else []
    return [*earlier, training["config"]] if "config" in training else earlier
