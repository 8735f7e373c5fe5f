"""What predict is asked to look at: standard input, a camera until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agecli.errors import UsageError

if TYPE_CHECKING:
    from agecli.video.frames import Frame


def read_stdin(paths: Sequence[Path]) -> bytes:
    """Read the picture on standard input, if it is among the sources.

    Raises UsageError where nobody pipes anything in.
    """
    from agecli.data.images import MAX_BYTES
    from agecli.inference.pictures import STDIN

    if STDIN not in paths:
        return b""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "-: standard input is the terminal; pipe a picture in: agecli predict - < FILE"
        )
    return sys.stdin.buffer.read(MAX_BYTES + 1)  # a larger one is refused where it is decoded


def until_interrupted(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames until Ctrl-C, after which what was seen is answered; a second one ends that."""
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
