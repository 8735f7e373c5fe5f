"""Show predictions as they come: bars, lines, JSON lines, CSV, annotated pictures."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agecli import distributed
from agecli.commands._console import err, out, say
from agecli.commands._outputs import Marked, save_marked
from agecli.commands._progress import FaceProgress, clock, printable
from agecli.commands._sources import Sources
from agecli.data.images import read_image
from agecli.faces.drawing import draw_faces
from agecli.files import growing
from agecli.inference.ensemble import Ensemble, together
from agecli.inference.fitted import ENSEMBLE
from agecli.inference.pictures import STDIN
from agecli.inference.prediction import Prediction, labels_of
from agecli.inference.rows import csv_header, csv_row
from agecli.video.frames import read_frame

Sink = Callable[[list[Prediction]], None]
"""Receives the predictions of one picture, or of one face of a video."""

BAR = 30
LONGEST_NAME = 40
SEEN = ", seen in training"


def show_predictions(
    predictions: Iterable[Prediction], sources: Sources, groups: Sequence[str],
    progress: FaceProgress, *, as_json: bool, top: int | None, csv_path: Path | None,
    annotate: Path | None,
) -> int:  # fmt: skip
    """Print and write the predictions for the sources; return how many sources have none.

    groups: the columns of the CSV file. With several processes, the first shows them all.
    """
    if not distributed.is_main():
        deque(predictions, maxlen=0)
        return 0
    many = len(sources.paths) > 1
    faces = unanswered = 0
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if annotate:
            sinks.append(_annotator(annotate, sources))
        if csv_path:
            sinks.append(stack.enter_context(_csv_file(csv_path, groups)))
        stack.enter_context(progress)
        # On one terminal, lines go through the bar's console, so that the bar stays below them.
        console = progress.console if not progress.disable and out.is_terminal else out
        listing: Sink | None = None
        if as_json:
            sinks.append(_json_lines(console, top))
        elif (many or progress.moving) and not csv_path:
            listing = _lines(console, sources.paths, top)
        elif not csv_path:
            listing = partial(_bars, console, top)
        for source, rows in groupby(predictions, key=lambda row: row.source):
            answered = False
            for _, group in groupby(rows, key=lambda row: row.track):
                seen = list(group)  # a picture's rows, or those of one face of a video
                if answered and seen[0].status == "unreadable":
                    progress.warn(f"{source}: {seen[0].error}; predicted from what was read")
                elif listing:
                    listing(seen)
                for sink in sinks:
                    sink(seen)
                told = {row.face for row in seen if row.status == "ok"}
                answered = answered or bool(told)
                faces += len(told)
            unanswered += not answered
            progress.finish(source)
    if many:
        what = "files" if progress.moving else "pictures"
        err.print(
            f"{what}: {len(sources.paths):,}, without a prediction: {unanswered:,}; "
            f"faces: {faces:,}",
            highlight=False,
        )
    return unanswered


def _bars(console: Console, top: int | None, rows: list[Prediction]) -> None:
    """Print one picture's predictions: per face and model, a bar per group; then the ensemble's."""
    for number, row in enumerate(rows):
        if number:
            console.print()
        if row.status != "ok":
            where = _where(row) if row.model else printable(row.source)
            console.print(Text(f"{where}: {row.error}"), soft_wrap=True)
            continue
        answers = [other for other in rows if other.face == row.face]
        told = all(other.status == "ok" for other in answers)
        joint = together(answers) if len(answers) > 1 and told else None
        if joint and row.model == ENSEMBLE:
            _head(console, row, "together", joint, _agree(joint))
        else:
            _head(console, row, row.model, row)
        table = Table.grid(padding=(0, 2))
        for group, chance in _top(row, top).items():
            style = "bold green" if group == row.group else ""
            bar = Bar(1, 0, chance, width=BAR, color="green" if style else "blue")
            table.add_row(Text(group, style), bar, Text(f"{chance:6.1%}", style))
        console.print(table)
        if joint and row is answers[-1] and not any(one.model == ENSEMBLE for one in answers):
            console.print()
            _head(console, row, "together", joint, _agree(joint))


def _agree(joint: Ensemble) -> str:
    return f", {joint.probability:.0%}, {joint.agree} of {joint.models} agree"


def _head(
    console: Console,
    row: Prediction,
    who: str | None,
    answer: Prediction | Ensemble,
    more: str = "",
) -> None:
    """Print the source, face and model of a row, and its prediction."""
    years = "" if answer.age is None else f", about {answer.age:.0f} years"
    said = Text(f"{answer.group}{years}", "bold")
    more = (f", {answer.doubt}" if answer.doubt else "") + more
    more += f"; {answer.span}" if answer.span else ""
    more += SEEN * bool(row is answer and row.seen)
    line = Text.assemble(f"{_where(row, who)}: ", said, more)
    console.print(line, soft_wrap=not console.is_terminal)  # by words, but in one line in a pipe


def _where(row: Prediction, who: str | None = None) -> str:
    """Return a row's source, face and model in words."""
    where = f"face at {', '.join(map(str, row.face.box))}" if row.face else "the whole picture"
    return f"{printable(row.source)}, {where}, {who or row.model}"


def _lines(console: Console, sources: Sequence[Path], top: int | None) -> Sink:
    """Print a line per face and model."""
    width = max(len(str(source)) for source in sources)
    width = min(width, LONGEST_NAME) if console.is_terminal else width

    def show(rows: list[Prediction]) -> None:
        for row in rows:
            name = printable(row.source)
            name = name if len(name) <= width else f"…{name[1 - width :]}"
            line = Text(name.ljust(width))
            if row.status != "ok":
                line.append(f"  {row.error}", "yellow")
            for group, chance in _top(row, top or 1).items():
                line.append(f"  {group:>5} {chance:4.0%}", "bold")
            line.append("" if row.age is None else f"  {row.age:3.0f} y")
            line.append(f"  {row.doubt}" if row.doubt else "", "dim")
            line.append(f"  {row.span}" if row.span else "")
            line.append(f"  {row.model}" if row.model else "", "dim")
            line.append("  (seen in training)" if row.seen else "", "yellow")
            if track := row.track:
                frames = "1 frame" if track.frames == 1 else f"{track.frames} frames"
                line.append(f"  face {track.number}", "dim")
                line.append(f"  {clock(track.first)}-{clock(track.last)}, {frames}", "dim")
            line.append(f"  {row.face.box}" if row.face else "", "dim")
            console.print(line, soft_wrap=True)

    return show


def _json_lines(console: Console, top: int | None) -> Sink:
    """Print a line of JSON per face and model."""

    def show(rows: list[Prediction]) -> None:
        for row in rows:
            record = asdict(row)
            if row.probabilities is not None:
                record["probabilities"] = _top(row, top)
            console.out(json.dumps(record, allow_nan=False), highlight=False)

    return show


@contextmanager
def _csv_file(path: Path, groups: Sequence[str]) -> Iterator[Sink]:
    """Write a CSV row per face and model as they come; the file gets its name when complete."""
    with (
        growing(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(csv_header(groups))
        answered = 0

        def write(rows: list[Prediction]) -> None:
            nonlocal answered
            writer.writerows(csv_row(row, groups) for row in rows)
            file.flush()
            answered += 1

        try:
            yield write
        except BaseException:  # Ctrl-C, too
            if answered:
                say(f"agecli: {partial} has the predictions so far")
            else:
                partial.unlink()
            raise


def _annotator(folder: Path, sources: Sources) -> Sink:
    """Write annotated copies of pictures with predictions, mirroring their folders.

    For a video, one frame per face, the one with the highest detection score.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Marked(folder, sources.paths)

    def write(rows: list[Prediction]) -> None:
        rows = [row for row in rows if row.status == "ok"]
        if not rows:
            return
        source = Path(rows[0].source)
        if track := rows[0].track:
            image = read_frame(source, track.best)
            target = pictures.path(source, str(track.number))
        else:
            image = read_image(sources.stdin if source == STDIN else source)
            target = pictures.path(source)
        save_marked(draw_faces(image, labels_of(rows)), target)

    return write


def _top(row: Prediction, top: int | None) -> dict[str, float]:
    """Return the predicted group and the most probable others; all, young to old, if no limit."""
    chances = row.probabilities or {}
    if not top:
        return chances
    return dict(sorted(chances.items(), key=lambda pair: (pair[0] != row.group, -pair[1]))[:top])
