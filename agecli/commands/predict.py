"""agecli predict: pictures in, age groups out."""

from __future__ import annotations

from glob import glob
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import typer

from agecli.commands import _options as options
from agecli.registry import DEFAULT_MODEL, MODELS

EXAMPLES = """Examples:

  agecli predict face.jpg

  agecli predict holiday/ --csv ages.csv --annotate marked/

  agecli predict 'crops/*.jpg' --crops --json | jq .group

Exit codes: 0 every picture was answered, 3 some had no answer, 1 failure, 2 wrong usage.
"""

Fallback = Literal["none", "centre"]
_FEW = 4
"""So few pictures are answered sooner without worker processes."""


def predict(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE|FOLDER|GLOB...", help="Pictures, or folders of them."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help=f"One of {', '.join(MODELS)}, or all; {DEFAULT_MODEL}, or all of --weights, by "
            "default.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Weights files; the released ones by default."),
    ] = None,
    crops: Annotated[
        bool, typer.Option("--crops", help="The pictures are face crops: detect nothing.")
    ] = False,
    fallback: Annotated[
        Fallback, typer.Option(help="Where no face is found, answer for the whole picture.")
    ] = "none",
    top: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Only the K likeliest groups.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per face and model on stdout.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a CSV file.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also draw boxes and groups on copies.")
    ] = None,
    flip: Annotated[
        bool, typer.Option(help="Average each face's answer with its mirror image's.")
    ] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces per step.")] = 32,
    device: options.Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that find faces; one per CPU for many pictures."),
    ] = None,
) -> None:
    """Tell the age group of every face in pictures.

    The answer is an estimate of apparent age by a model trained on a research data set.
    """
    from agecli.commands._answers import answer_sinks
    from agecli.data.workers import default_workers
    from agecli.inference.predictor import Predictor
    from agecli.weights import find_weights

    paths = _expand(pictures)
    files = find_weights(model or ("all" if weights else DEFAULT_MODEL), weights)
    if workers is None:
        workers = 0 if len(paths) < _FEW else default_workers()
    predictor = Predictor(
        files, device=device, crops=crops, fallback=fallback, flip=flip, batch_size=batch_size,
        workers=workers,
    )  # fmt: skip
    unanswered = 0
    with predictor, answer_sinks(len(paths), as_json, top, csv, annotate) as sinks:
        for _, rows in groupby(predictor.predict(paths), key=lambda row: row.source):
            picture = list(rows)
            unanswered += picture[0].status != "ok"
            for sink in sinks:
                sink(picture)
    if unanswered:
        raise typer.Exit(3)


def _expand(pictures: list[str]) -> list[Path]:
    """List the pictures that files, folders and patterns name, each once, in order."""
    from agecli.data.images import SUFFIXES
    from agecli.errors import DataError, UsageError

    found: dict[Path, None] = {}
    for text in pictures:
        path = Path(text)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not matches:
                raise DataError(f"No pictures in {path}")
        elif any(character in text for character in "*?["):
            matches = sorted(Path(p) for p in glob(text, recursive=True) if Path(p).is_file())
            if not matches:
                raise DataError(f"No pictures match {text}")
        elif "://" in text:
            raise UsageError(f"{text} is an address: download the picture first")
        else:
            raise DataError(f"No such file or folder: {text}")
        found.update(dict.fromkeys(matches))
    return list(found)
