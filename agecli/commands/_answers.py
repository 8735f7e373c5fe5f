"""Where predict's rows go: a card, lines or JSON on stdout; a CSV file; marked pictures."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agecli.commands._console import err, out

if TYPE_CHECKING:
    from agecli.inference.predictor import Prediction

Sink = Callable[[list["Prediction"]], None]
"""Takes all rows of one picture."""

_BAR = 28
_NAME = 36
_CSV_COLUMNS = (
    "source", "left", "top", "right", "bottom", "score", "model", "group", "probability", "age",
    "status", "error",
)  # fmt: skip


@contextmanager
def answer_sinks(
    count: int, as_json: bool, top: int | None, table: Path | None, annotate: Path | None
) -> Iterator[list[Sink]]:
    """Open what `count` pictures' rows go to; the CSV file appears when all is written."""
    with ExitStack() as stack:
        sinks: list[Sink] = [lambda rows: _print_json(rows, top)]
        if not as_json:
            sinks = [lambda rows: _print_card(rows, top) if count == 1 else _print_lines(rows)]
        if table:
            sinks.append(stack.enter_context(_csv_file(table)))
        if annotate:
            annotate.mkdir(parents=True, exist_ok=True)
            sinks.append(_Annotator(annotate))
        if err.is_terminal and not out.is_terminal and count > 1:  # else the rows tell how far it is
            sinks.append(stack.enter_context(_progress_bar(count)))
        yield sinks


def _print_json(rows: list[Prediction], top: int | None) -> None:
    for row in rows:
        content = asdict(row)
        if row.probabilities:
            content["probabilities"] = dict(_likeliest(row.probabilities, top))
        print(json.dumps(content, ensure_ascii=False), flush=True)  # noqa: T201 - raw lines


def _print_card(rows: list[Prediction], top: int | None) -> None:
    from rich.table import Table

    if rows[0].status != "ok":
        err.print(f"{rows[0].source}: {rows[0].error}", highlight=False, soft_wrap=True)
        return
    faces: list[object] = []
    for row in rows:
        assert row.probabilities and row.probability
        if row.face not in faces:
            faces.append(row.face)
        where = ""
        if row.face:
            left, upper, right, lower = row.face["box"]
            where = f", face {len(faces)} at ({left:.0f}, {upper:.0f})-({right:.0f}, {lower:.0f})"
        age = f", about {row.age:.0f} years" if row.age is not None else ""
        table = Table(
            title=f"{row.source}{where}\n[bold]{row.group}[/]{age} [dim]({row.model})[/]",
            title_justify="left", title_style="", box=None, show_header=False,
        )  # fmt: skip
        for group, probability in _likeliest(row.probabilities, top):
            bar = "█" * round(probability * _BAR)
            best = group == row.group
            table.add_row(
                group, f"[{'cyan' if best else 'dim'}]{bar:<{_BAR}}[/]", f"{probability:6.1%}",
                style="bold" if best else "",
            )  # fmt: skip
        out.print(table, highlight=False)


def _print_lines(rows: list[Prediction]) -> None:
    for row in rows:
        name = row.source if len(row.source) <= _NAME else "…" + row.source[1 - _NAME :]
        if row.status != "ok":
            text = f"{name:<{_NAME}}  [yellow]{row.status}[/]  {row.error}"
        else:
            age = f"{row.age:5.1f} years" if row.age is not None else ""
            box = "({:.0f}, {:.0f})-({:.0f}, {:.0f})".format(*row.face["box"]) if row.face else ""
            text = (
                f"{name:<{_NAME}}  {row.model:<8}  [bold]{row.group:<6}[/] "
                f"{row.probability:4.0%}  {age:<11}  [dim]{box}[/]"
            )
        out.print(text, highlight=False, soft_wrap=True)


def _likeliest(probabilities: dict[str, float], top: int | None) -> list[tuple[str, float]]:
    """Give all groups in their order, or the `top` likeliest first."""
    items = list(probabilities.items())
    return sorted(items, key=lambda item: -item[1])[:top] if top else items


@contextmanager
def _csv_file(path: Path) -> Iterator[Sink]:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)

            def write(rows: list[Prediction]) -> None:
                for row in rows:
                    face = row.face or {"box": [""] * 4, "score": ""}
                    writer.writerow([
                        row.source, *face["box"], face["score"], row.model, row.group,
                        row.probability, row.age, row.status, row.error,
                    ])  # fmt: skip

            writer.writerow(_CSV_COLUMNS)
            yield write
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class _Annotator:
    """Draws boxes and groups on copies of the pictures, named as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: set[str] = set()

    def __call__(self, rows: list[Prediction]) -> None:
        from PIL import ImageDraw, ImageFont

        from agecli.data.images import read_image

        if rows[0].status == "unreadable":
            return
        source = Path(rows[0].source)
        image = read_image(source)
        draw = ImageDraw.Draw(image)
        line = max(2, round(min(image.size) / 200))
        font = ImageFont.load_default(max(12, min(image.size) // 28))
        labels: dict[tuple[float, ...], list[str]] = {}
        for row in rows:
            box = tuple(row.face["box"]) if row.face else (0, 0, *image.size)
            if row.group:
                name = f"{row.model} " if len({r.model for r in rows}) > 1 else ""
                labels.setdefault(box, []).append(f"{name}{row.group} {row.probability:.0%}")
        for box, texts in labels.items():
            draw.rectangle(box, outline=(0, 200, 220), width=line)
            text = "\n".join(texts)
            corner = (max(0, box[0]), max(0, box[1]))
            background = draw.multiline_textbbox(corner, text, font=font)
            draw.rectangle(background, fill=(0, 60, 70))
            draw.multiline_text(corner, text, fill="white", font=font)
        name, number = f"{source.stem}.jpg", 1
        while name in self.taken:  # the same name in another folder
            number += 1
            name = f"{source.stem}-{number}.jpg"
        self.taken.add(name)
        partial = self.folder / f".{name}.partial"
        image.save(partial, "JPEG", quality=92)
        os.replace(partial, self.folder / name)


@contextmanager
def _progress_bar(count: int) -> Iterator[Sink]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.speed:.1f}/s"), TimeLeft())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=count)
        yield lambda rows: progress.advance(task)
