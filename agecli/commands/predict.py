"""agecli predict: predict the age groups of the faces in images and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli import config, distributed
from agecli.commands import _completion as completion
from agecli.commands import _options as options
from agecli.commands._options import flag
from agecli.config import FLIP, FPS, MIN_FACE_SCORE, TrainConfig
from agecli.errors import UsageError
from agecli.registry import DEFAULT_MODEL

EXAMPLES = """\b
Examples:
  agecli predict portrait.jpg
  agecli predict holiday/ "scans/**/*.png" --csv ages.csv --annotate marked
  agecli predict chips/ --crops --json | jq .group
  agecli predict party.mp4 --fps all
  agecli predict --webcam
  agecli predict - < face.jpg
"""

NO_ANSWER = 3
"""The exit code if some pictures have no prediction."""

Option = typer.Option
Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURE",
        help="Pictures, videos, folders of them, patterns, or - for a picture on stdin.",
    ),
]
Crops = Annotated[bool, flag("crops", "The pictures are face crops: use them as they are.")]
Fallback = Annotated[
    config.Fallback, Option(help="Without a face: skip the picture, or predict from all of it.")
]
Align = Annotated[
    config.Align,
    Option(help="Align each face by five landmarks, or crop the detector's box."),
]
LeastScore = Annotated[
    float, Option(metavar="X", min=0, max=1, help="Drop detections with a lower score.")
]
Json = Annotated[bool, flag("json", "Print a line of JSON per face and model.")]
Csv = Annotated[Path | None, Option(metavar="FILE", help="Write a CSV row per face and model.")]
Top = Annotated[
    int | None,
    Option(
        metavar="K",
        min=1,
        help="Show only K groups: the predicted one, and the most probable others.",
    ),
]
Coverage = Annotated[
    float | None,
    Option(
        metavar="0.8|0.9|0.95",
        help="How often the age set has to contain the true age; by default 0.9.",
    ),
]
Abstain = Annotated[
    bool,
    flag("abstain", "Abstain where a guess of the most frequent group is as good."),
]
Annotate = Annotated[
    Path | None,
    Option(metavar="DIR", file_okay=False, help="Write copies with boxes and labels."),
]
Webcam = Annotated[bool, flag("webcam", "Watch a camera until Ctrl-C, instead of pictures.")]
Camera = Annotated[int, Option(metavar="N", min=0, help="Which camera --webcam watches, from 0.")]
FrameRate = Annotated[str, Option(metavar="N|all", help="Frames per second of a video to look at.")]
Seconds = Annotated[
    float | None, Option(metavar="S", min=0.01, help="Use only the first S seconds of each video.")
]
Model = Annotated[
    str | None,
    Option(
        metavar="NAME|all",
        help=f"Model to use; by default {DEFAULT_MODEL}, or all of --weights.",
        autocompletion=completion.models,
    ),
]
Weights = Annotated[
    Path | None,
    Option(
        metavar="FILE|DIR",
        help="Weights to use instead of the released ones; also ONNX.",
        autocompletion=completion.weights,
    ),
]
Flip = Annotated[bool, Option(help="Average each face's prediction with its mirror image's.")]
Workers = Annotated[
    int | None,
    Option(min=0, help="Processes that detect faces; by default one per CPU from 50 pictures on."),
]
FacesPerStep = Annotated[int, Option(min=1, help="Faces per step.")]


def predict(
    pictures: Pictures = None,
    crops: Crops = False,
    fallback: Fallback = "none",
    align: Align = "points",
    min_face_score: LeastScore = MIN_FACE_SCORE,
    as_json: Json = False,
    csv: Csv = None,
    top: Top = None,
    coverage: Coverage = None,
    abstain: Abstain = False,
    annotate: Annotate = None,
    webcam: Webcam = False,
    camera: Camera = 0,
    fps: FrameRate = f"{FPS:g}",
    seconds: Seconds = None,
    model: Model = None,
    weights: Weights = None,
    flip: Flip = FLIP,
    device: options.Device = TrainConfig.device,
    workers: Workers = None,
    batch_size: FacesPerStep = 64,
) -> None:
    """Detect the faces in pictures and videos, and predict their age groups.

    One picture gets a bar per group; with many, every face gets a line. In a video
    or before a camera faces are tracked: each gets a line when it has left, with
    its mean prediction. Results go to stdout (or, with --csv, only to FILE),
    progress and warnings to stderr. Several processes of a launcher divide the
    files.

    Exit codes: 0 every picture has a prediction; 3 some have none, their rows say
    why (no face found, unreadable, unsure); 1 failure; 2 wrong usage.
    """
    from agecli.commands._outputs import check
    from agecli.commands._predictions import show_predictions
    from agecli.commands._progress import FaceProgress
    from agecli.commands._sources import find_sources
    from agecli.inference.fitted import find_fitted
    from agecli.inference.prediction import abstained
    from agecli.inference.predictor import Predictor
    from agecli.sets import COVERAGE
    from agecli.weights import find_weights

    if webcam:
        _refuse_with_webcam(pictures, annotate)
    elif not pictures:
        raise UsageError("Missing argument 'PICTURE': pass pictures or videos, or --webcam")
    sources = find_sources(pictures or [], camera if webcam else None, fps, seconds)
    if distributed.is_main():
        check(csv, annotate, [] if webcam else sources.paths)
    paths = find_weights(model or ("all" if weights else DEFAULT_MODEL), weights)
    found = find_fitted(paths)
    if found.note and distributed.is_main():
        typer.echo(f"agecli: {found.note}", err=True)
    predictor = Predictor(
        found.fitted.sort(paths) if found.fitted else paths, ensemble=found.fitted,
        coverage=COVERAGE if coverage is None else coverage, device=device, crops=crops,
        fallback=fallback, align=align, min_face_score=min_face_score, flip=flip,
        batch_size=batch_size,
        workers=sources.workers if workers is None else workers,
    )  # fmt: skip
    progress = FaceProgress(None if webcam else len(sources.paths), sources.moving)
    answers = sources.predict(predictor, progress.watch)
    unanswered = show_predictions(
        map(abstained, answers) if abstain else answers, sources, predictor.groups, progress,
        as_json=as_json, top=top, csv_path=csv, annotate=annotate,
    )  # fmt: skip
    if unanswered:
        raise typer.Exit(NO_ANSWER)


def _refuse_with_webcam(pictures: list[str] | None, annotate: Path | None) -> None:
    if pictures:
        raise UsageError("--webcam takes no PICTURE: pass one or the other")
    if annotate:
        raise UsageError("--annotate: frames of --webcam are not saved; leave out one of them")
    if distributed.world() > 1:
        raise UsageError("--webcam: one process watches a camera; run agecli without a launcher")
