"""agecli predict: tell the age groups of the faces in pictures and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli import distributed
from agecli.commands import _options as options
from agecli.config import FLIP, FPS, MIN_FACE_SCORE, Align, Fallback, TrainConfig
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

MANY = 50
"""Pictures from which on it pays to start a process per CPU."""

SLOWEST, FASTEST = 0.01, 1000.0
"""Frames per second that --fps takes."""

NO_ANSWER = 3
"""The exit code where some pictures have no answer."""


def predict(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Pictures, folders of them, patterns, videos, or - for a picture on stdin.",
        ),
    ] = None,
    crops: Annotated[
        bool, typer.Option("--crops", help="The pictures are face crops: take them as they are.")
    ] = False,
    fallback: Annotated[
        Fallback,
        typer.Option(help="Where no face is found: no answer, or one for the whole picture."),
    ] = "none",
    align: Annotated[
        Align,
        typer.Option(help="Set each face upright by its five points, or crop the detector's box."),
    ] = "points",
    min_face_score: Annotated[
        float,
        typer.Option(metavar="X", min=0, max=1, help="Detections below this score are no faces."),
    ] = MIN_FACE_SCORE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON per face and model.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write a CSV row per face and model."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Show only the K most probable groups."),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Write pictures with boxes and labels."),
    ] = None,
    webcam: Annotated[
        bool, typer.Option("--webcam", help="Watch a camera until Ctrl-C, instead of pictures.")
    ] = False,
    camera: Annotated[
        int, typer.Option(metavar="N", min=0, help="Which camera --webcam watches, from 0.")
    ] = 0,
    fps: Annotated[
        str,
        typer.Option(metavar="N|all", help="Frames looked at per second of a video."),
    ] = f"{FPS:g}",
    seconds: Annotated[
        float | None,
        typer.Option(metavar="S", min=0.01, help="Look at the first S seconds of each video."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help=f"Model to ask; by default {DEFAULT_MODEL}, or all of --weights.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Other weights than the released ones; ONNX, too."),
    ] = None,
    flip: Annotated[
        bool, typer.Option(help="Average each face's answer with its mirror image's.")
    ] = FLIP,
    device: options.Device = TrainConfig.device,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Processes that detect faces; by default one per CPU from {MANY} pictures on.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces per step.")] = 64,
) -> None:
    """Detect the faces in pictures and videos, and predict their age groups.

    One picture gets a bar per group; of many, every face gets a line. In a video
    or before a camera faces are followed: each gets a line when it is gone, with
    the mean of its answers. Results go to stdout (or, with --csv, to FILE alone),
    progress and warnings to stderr. Several processes of a launcher share the
    files.

    Exit codes: 0 every picture has an answer; 3 some have none, their rows say
    why (no face found, unreadable); 1 failure; 2 wrong usage.
    """
    from functools import partial

    from agecli.commands._predictions import show_predictions
    from agecli.commands._progress import FaceProgress
    from agecli.commands._sources import read_stdin, until_interrupted
    from agecli.data.workers import default_workers
    from agecli.inference.pictures import find_pictures
    from agecli.inference.predictor import Predictor, predict_together
    from agecli.memory import keep_freed_memory
    from agecli.video.frames import is_video, need_decoder, read_camera, read_video
    from agecli.video.people import predict_files, predict_video
    from agecli.weights import find_weights

    rate = _frame_rate(fps)
    if webcam:
        _refuse_with_webcam(pictures, annotate)
    elif not pictures:
        raise UsageError("Missing argument 'PICTURE': name pictures or videos, or give --webcam")
    keep_freed_memory()  # nearly halves a step of the model on the CPU
    paths = distributed.from_main(lambda: find_pictures(pictures or []))
    stdin = distributed.from_main(lambda: read_stdin(paths))
    moving = webcam or any(map(is_video, paths))
    if moving:
        need_decoder()
    files = find_weights(model or ("all" if weights else DEFAULT_MODEL), weights)
    if workers is None:
        workers = default_workers() // distributed.local_world() if len(paths) >= MANY else 0
    predictor = Predictor(
        files, device=device, crops=crops, fallback=fallback, align=align,
        min_face_score=min_face_score, flip=flip, batch_size=batch_size, workers=workers,
    )  # fmt: skip
    progress = FaceProgress(None if webcam else len(paths), moving)
    if webcam:
        _ = predictor.models  # loaded before the camera's clock starts
        paths = [Path(f"webcam {camera}")]
        frames = until_interrupted(read_camera(camera, rate, seconds))
        predictions = predict_video(predictor, frames, str(paths[0]), progress.watch)
    else:
        predict_part = partial(
            predict_files, predictor,
            stdin=stdin, read=partial(read_video, fps=rate, limit=seconds), watch=progress.watch,
        )  # fmt: skip
        predictions = predict_together(predict_part, paths)
    if not distributed.is_main():
        for _ in predictions:
            pass  # the first process shows them
        return
    unanswered = show_predictions(
        predictions, paths, files, progress,
        as_json=as_json, top=top, csv_path=csv, annotate=annotate, stdin=stdin,
    )  # fmt: skip
    if unanswered:
        raise typer.Exit(NO_ANSWER)


def _frame_rate(fps: str) -> float | None:
    """Return the frames to look at per second, None for all of them."""
    if fps == "all":
        return None
    try:
        rate = float(fps)
    except ValueError:
        rate = 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise UsageError(
            f"--fps: {fps!r} is neither a number from {SLOWEST:g} to {FASTEST:g} nor all"
        )
    return rate


def _refuse_with_webcam(pictures: list[str] | None, annotate: Path | None) -> None:
    if pictures:
        raise UsageError("--webcam takes no PICTURE: ask for the one or the other")
    if annotate:
        raise UsageError(
            "--annotate: pictures of --webcam are not kept; leave the one or the other"
        )
    if distributed.world() > 1:
        raise UsageError("--webcam: one process watches a camera; start agecli without a launcher")
