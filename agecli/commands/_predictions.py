"""Show predictions as they come: bars, lines, JSON lines, CSV, annotated pictures, progress."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agecli.commands._console import err, out
from agecli.errors import UsageError
from agecli.weights import read_metadata

if TYPE_CHECKING:
    from agecli.inference.predictor import Prediction

Sink = Callable[[list["Prediction"]], None]
"""Takes the predictions of one picture."""

BAR = 30
LONGEST_NAME = 40
WRITABLE = (".jpg", ".jpeg", ".png", ".webp")
CSV_COLUMNS = ("source", "left", "top", "right", "bottom", "angle", "score", "model", "group",
               "probability", "age", "status", "error")  # fmt: skip


def show_predictions(
    predictions: Iterable[Prediction],
    sources: Sequence[Path],
    weights: Sequence[Path],
    *,
    as_json: bool,
    top: int | None,
    csv_path: Path | None,
    annotate: Path | None,
) -> int:
    """Print and write the answers for the sources; return how many sources have none."""
    many = len(sources) > 1
    faces = unanswered = 0
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if annotate:
            sinks.append(_annotator(annotate, sources))
        if csv_path:
            sinks.append(stack.enter_context(_csv_file(csv_path, weights)))
        bar = stack.enter_context(_progress(len(sources)))
        # On one terminal, lines go through the bar's console, which keeps the bar below them.
        console = bar.console if not bar.disable and out.is_terminal else out
        if as_json:
            sinks.append(_json_lines(console, top))
        elif many and not csv_path:
            sinks.append(_lines(console, sources, top))
        elif not csv_path:
            sinks.append(lambda rows: _bars(console, rows, top))
        for _, rows in groupby(predictions, key=lambda row: row.source):
            picture = list(rows)
            for sink in sinks:
                sink(picture)
            answered = picture[0].status == "ok"
            faces += len({row.face for row in picture}) if answered else 0
            unanswered += not answered
            bar.advance(bar.task_ids[0])
    if many:
        err.print(
            f"pictures: {len(sources):,}, without an answer: {unanswered:,}; faces: {faces:,}",
            highlight=False,
        )
    return unanswered


def _progress(total: int) -> Progress:
    columns = (
        TextColumn("faces"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.speed:.0f} pictures/s"), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=err, transient=True, disable=total == 1 or not err.is_terminal)
    bar.add_task("faces", total=total)
    return bar


def _bars(console: Console, rows: list[Prediction], top: int | None) -> None:
    """Print one picture's answers: per face and model, a bar per group."""
    for number, row in enumerate(rows):
        if row.status != "ok":
            console.print(Text(f"{_printable(row.source)}: {row.error}"), soft_wrap=True)
            continue
        where = f"face at {', '.join(map(str, row.face.box))}" if row.face else "the whole picture"
        age = f", about {row.age:.0f} years" if row.age is not None else ""
        if number:
            console.print()
        console.print(
            Text(f"{_printable(row.source)}, {where}, {row.model}: "),
            Text(f"{row.group}{age}", "bold"),
            sep="", soft_wrap=True,
        )  # fmt: skip
        table = Table.grid(padding=(0, 2))
        for group, chance in _top(row, top).items():
            style = "bold green" if group == row.group else ""
            bar = Bar(1, 0, chance, width=BAR, color="green" if style else "blue")
            table.add_row(Text(group, style), bar, Text(f"{chance:6.1%}", style))
        console.print(table)


def _lines(console: Console, sources: Sequence[Path], top: int | None) -> Sink:
    """Print a line per face and model."""
    width = max(len(str(source)) for source in sources)
    width = min(width, LONGEST_NAME) if console.is_terminal else width

    def show(rows: list[Prediction]) -> None:
        for row in rows:
            name = _printable(row.source)
            name = name if len(name) <= width else f"…{name[1 - width :]}"
            line = Text(name.ljust(width))
            if row.status != "ok":
                line.append(f"  {row.error}", "yellow")
            for group, chance in _top(row, top or 1).items():
                line.append(f"  {group:>5} {chance:4.0%}", "bold")
            line.append("" if row.age is None else f"  {row.age:3.0f} y")
            line.append(f"  {row.model}" if row.model else "", "dim")
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
def _csv_file(path: Path, weights: Sequence[Path]) -> Iterator[Sink]:
    """Write a CSV row per face and model; the file gets its name when it is whole."""
    groups = list(dict.fromkeys(label for file in weights for label in read_metadata(file).scheme))
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow([*CSV_COLUMNS, *(f"p {group}" for group in groups)])

            def write(rows: list[Prediction]) -> None:
                for row in rows:
                    found = row.face
                    face = [*found.box, found.angle, found.score] if found else [None] * 6
                    chances = row.probabilities or {}
                    writer.writerow(
                        [row.source, *face, row.model, row.group, row.probability, row.age,
                         row.status, row.error, *map(chances.get, groups)]
                    )  # fmt: skip

            yield write
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _annotator(folder: Path, sources: Sequence[Path]) -> Sink:
    """Write the pictures that have answers, with boxes and labels, as they lie in their folders."""
    from agecli.data.images import read_image
    from agecli.inference.drawing import draw_predictions

    parents = {source.parent: source.parent.resolve() for source in sources}
    root = Path(os.path.commonpath(parents.values()))
    if any(parent.is_relative_to(folder.resolve()) for parent in parents.values()):
        raise UsageError(f"--annotate: {folder} holds pictures to predict; give another folder")
    folder.mkdir(parents=True, exist_ok=True)

    def write(rows: list[Prediction]) -> None:
        if rows[0].status != "ok":
            return
        source = Path(rows[0].source)
        target = folder / parents[source.parent].relative_to(root) / source.name
        if target.suffix.lower() not in WRITABLE:
            target = target.with_name(f"{target.name}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        draw_predictions(read_image(source), rows).save(target, quality=92)

    return write


def _top(row: Prediction, top: int | None) -> dict[str, float]:
    """Give the most probable groups; without a limit all, young to old."""
    chances = row.probabilities or {}
    return dict(sorted(chances.items(), key=lambda pair: -pair[1])[:top]) if top else chances


def _printable(name: str) -> str:
    """Make text of a file's name, which may hold bytes that are none."""
    return name.encode(errors="replace").decode()
