"""Progress of predict, with the faces in view of a video or a camera, live on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from agecli.commands._console import err

if TYPE_CHECKING:
    from agecli.inference.prediction import Prediction
    from agecli.video.frames import Frame


class FaceProgress(Progress):
    """A bar over the sources, and in a video a line for each face in view; only on a terminal.

    total: the number of sources, or None for a camera. moving: whether some are videos.
    """

    def __init__(self, total: int | None, moving: bool) -> None:
        rest = (
            (TextColumn("Ctrl-C ends"), TimeElapsedColumn())
            if total is None
            else (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        )
        self.moving = moving
        self._rows: list[Prediction] = []  # those of the faces in view
        self._done = 0
        self._begun: set[str] = set()  # the videos in progress, or not yet counted
        super().__init__(
            TextColumn("{task.description}"), *rest,
            console=err, transient=True, disable=not err.is_terminal or (total == 1 and not moving),
        )  # fmt: skip
        self._task = self.add_task("faces", total=total)

    def watch(self, source: str, frame: Frame, rows: list[Prediction]) -> None:
        """Show a frame's time in its video, and the predictions so far for the faces in view."""
        self._rows = rows
        self._begun.add(source)
        where = f"{printable(Path(source).name)} at {clock(frame.seconds)}"
        done = self._done + len(self._begun) - 1 + frame.share
        self.update(self._task, description=where, completed=done, refresh=True)

    def finish(self, source: str) -> None:
        """Count a source as done."""
        self._done += 1
        self._begun.discard(source)
        if not self._begun:
            self._rows = []
            self.update(self._task, description="faces", completed=self._done)

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self.console.print(f"agecli: {printable(text)}", highlight=False, soft_wrap=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the contents of the screen; Rich calls this several times per second."""
        yield from super().get_renderables()
        table = Table.grid(padding=(0, 2))
        for row in self._rows:
            assert row.track is not None
            table.add_row(
                Text(f"  face {row.track.number}"),
                Text(str(row.group), "bold"),
                Text(f"{row.probability:.0%}"),
                Text("" if row.age is None else f"{row.age:.0f} y"),
                Text(str(row.model), "dim"),
                Text(f"since {clock(row.track.first)}", "dim"),
            )
        if self._rows:
            yield table


def clock(seconds: float) -> str:
    """Return a time in a video as minutes and seconds: "1:02.5"."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def printable(name: str) -> str:
    """Return a file's name as printable text, whatever bytes it contains."""
    return name.encode(errors="replace").decode()
