"""The README of a folder of weights: what each file is, how right, and how to train it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agecli.config import command_line
from agecli.errors import WeightsError
from agecli.evaluation.report.grid import Grid
from agecli.evaluation.report.tables import megabytes, share, span, years
from agecli.exporting.card import UTKFACE, scores_of
from agecli.weights import SUFFIXES, Metadata, read_metadata

_INTRO = """\
# Weights

Made by `agecli export {folder} --index`. Each file rebuilds its model with nothing else: its header
holds the architecture, preprocessing, crop, age groups, the split's hash and the figures below
(`agecli.weights.read_metadata`). Matrices are stored as 16-bit floats."""

_TRAINING = """\
## How they were trained

With these commands, on the data set of `agecli prepare` whose split hash is given. Of several, each
begins with the weights of the one above."""

_LICENCE = f"""\
## Licence

Trained on {UTKFACE}, which is for **non-commercial research only**; so are these files. What they
give is an estimate of apparent age, and not for decisions about people."""


def folder_readme(folder: Path) -> str:
    """Write the README (Markdown) of a folder of weights; every figure is a file's own.

    Raises WeightsError for a folder without weights, and for a file that is damaged.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not files:
        raise WeightsError(f"{folder} holds no weights: export some into it first")
    models = {path: read_metadata(path) for path in files}
    parts = [
        _INTRO.format(folder=folder.name),
        "## Models of ages",
        _models(models),
        _about_figures(models),
        _TRAINING,
        _commands(models),
        _LICENCE,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(models: dict[Path, Metadata]) -> str:
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
    return grid.markdown()


def _about_figures(models: dict[Path, Metadata]) -> str:
    """Say what the figures are on, where all files say the same."""
    scores = filter(None, map(scores_of, models.values()))
    said = {(one.n, one.majority_group, one.majority) for one in scores}
    if len(said) != 1:
        return ""
    ((count, group, share),) = said
    return f"On {count:,} images of the test split; always {group} is right for {share:.1%}."


def _commands(files: dict[Path, Metadata]) -> str:
    parts = []
    for path, metadata in files.items():
        if lines := _lines(_trainings(metadata.training), f"runs/{path.stem}"):
            facts = f"`{path.name}`: {_facts(metadata)}"
            parts.append(facts + "\n\n```bash\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def _lines(trainings: list[dict[str, Any]], run: str) -> list[str]:
    """Write a command for each training, which begins with the run of the one before it."""
    lines = []
    for number, config in enumerate(trainings, start=1):
        start = {"init": f"{run}-{number - 1}"} if number > 1 else {}
        folder = f" --run {run}-{number}" if number < len(trainings) else ""
        lines.append(command_line(config | start) + folder)
    return lines


def _trainings(training: dict[str, Any]) -> list[dict[str, Any]]:
    """List the configurations that led to weights, the first one first."""
    earlier = _trainings(training["before"]) if training.get("before") else []
    return [*earlier, training["config"]] if "config" in training else earlier


def _facts(metadata: Metadata) -> str:
    training = metadata.training
    parts = [
        f"{training['train_images']:,} images of {', '.join(training['data'])}",
        f"split hash `{metadata.split_hash[:16]}`",
        f"{training['seconds'] / 60:.0f} minutes" if "seconds" in training else "",
        training["device"],
        f"agecli {metadata.agecli_version}",
    ]
    return "; ".join(part for part in parts if part)
