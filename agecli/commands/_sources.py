"""The sources of predict: files, standard input, or a camera until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from agecli import distributed
from agecli.commands._console import say, shortened
from agecli.data.images import MAX_BYTES
from agecli.errors import UsageError
from agecli.inference.pictures import STDIN, find_pictures, worker_count
from agecli.inference.prediction import Prediction
from agecli.inference.predictor import Predictor
from agecli.inference.sharing import predict_distributed
from agecli.video.frames import Frame, frame_rate, is_video, need_decoder, read_camera
from agecli.video.people import Watch, predict_files, predict_video


@dataclass(frozen=True)
class Sources:
    """Images, videos and the image on standard input; or a camera."""

    paths: Sequence[Path]
    """The files; for a camera, only its name."""
    fps: float | None
    seconds: float | None
    camera: int | None
    stdin: bytes = b""

    @cached_property
    def moving(self) -> bool:
        """Return whether some are videos."""
        return self.camera is not None or any(map(is_video, self.paths))

    @property
    def workers(self) -> int:
        """Return the number of processes worth starting for them."""
        return worker_count(len(self.paths))

    def predict(self, predictor: Predictor, watch: Watch) -> Iterator[Prediction]:
        """Yield the predictions for them, divided among the processes of a launch."""
        if self.camera is not None:
            _ = predictor.models  # loaded before the camera's clock starts
            frames = until_interrupted(read_camera(self.camera, self.fps, self.seconds))
            return predict_video(predictor, frames, str(self.paths[0]), watch)
        answer = partial(
            predict_files, predictor, fps=self.fps, seconds=self.seconds, stdin=self.stdin,
            watch=watch,
        )  # fmt: skip
        return predict_distributed(answer, self.paths)


def find_sources(
    names: Sequence[str], camera: int | None, fps: str, seconds: float | None
) -> Sources:
    """Find the sources named, once for all processes; camera: watch only that."""
    rate = frame_rate(fps)
    if camera is not None:
        sources = Sources([Path(f"webcam {camera}")], rate, seconds, camera)
    else:
        paths, skipped = distributed.from_main(lambda: find_pictures(names))
        stdin = distributed.from_main(lambda: read_stdin(paths))
        sources = Sources(paths, rate, seconds, None, stdin)
        if skipped and distributed.is_main():
            are = "1 file is" if len(skipped) == 1 else f"{len(skipped):,} files are"
            say(f"agecli: {are} neither image nor video: {shortened(skipped)}")
    if sources.camera is not None or all(map(is_video, sources.paths)):
        need_decoder()  # otherwise their rows report it
    return sources


def read_stdin(paths: Sequence[Path]) -> bytes:
    """Read the image on standard input, if it is among the sources.

    Raises UsageError if nothing is piped in.
    """
    if STDIN not in paths:
        return b""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "-: standard input is the terminal; pipe an image in: agecli predict - < FILE"
        )
    return sys.stdin.buffer.read(MAX_BYTES + 1)  # a larger one is rejected when it is decoded


def until_interrupted(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames until Ctrl-C, after which predictions are finished; a second one aborts."""
    stop = threading.Event()
    before: Any = signal.getsignal(signal.SIGINT)

    def let_finish(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, let_finish)
    try:
        yield from takewhile(lambda _: not stop.is_set(), frames)
    finally:
        signal.signal(signal.SIGINT, before)
