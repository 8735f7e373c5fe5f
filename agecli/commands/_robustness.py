"""What evaluate does beyond chips as they are: --robustness, --store and --photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from agecli import distributed
from agecli.errors import UsageError

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.evaluation.photographs import Photographs
    from agecli.evaluation.report.page import Section
    from agecli.evaluation.robustness import Robustness
    from agecli.inference.model import Model


@dataclass(frozen=True)
class Extras:
    """What was measured, by the models' names."""

    robustness: dict[str, Robustness]
    photographs: Photographs | None
    names: list[str]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield a line of JSON for each measurement."""
        if self.robustness:
            yield {"robustness": {name: asdict(one) for name, one in self.robustness.items()}}
        if self.photographs:
            yield {"photographs": self.photographs.summary(self.names)}

    def tables(self) -> Iterator[Table]:
        """Lay out a table for each measurement."""
        from agecli.evaluation.photographs import (
            MODEL_COLUMNS,
            describe_finds,
            photographs_table,
        )
        from agecli.evaluation.robustness import robustness_table

        if self.robustness:
            count = next(iter(self.robustness.values())).n
            title = f"Exact accuracy on {count:,} disturbed images (points lost, 95 %)"
            yield _table(title, robustness_table(self.robustness))
        if self.photographs:
            title = f"Faces in photographs: {describe_finds(self.photographs)}"
            cells = photographs_table(self.photographs, self.names)
            for start in range(3, len(cells[0]), MODEL_COLUMNS):  # a table per model: they are wide
                yield _table(title, [row[:3] + row[start : start + MODEL_COLUMNS] for row in cells])
                title = ""

    def sections(self, folder: Path) -> list[Section]:
        """Lay out a section of the report for each measurement."""
        from agecli.evaluation.report.page import photographs_section, robustness_section

        found = []
        if self.robustness:
            found.append(robustness_section(folder, self.robustness))
        if self.photographs:
            found.append(photographs_section(self.photographs, self.names))
        return found

    def plot(self, folder: Path) -> list[Path]:
        """Draw what can be drawn into a folder, and give the files."""
        from agecli.evaluation.report.plots import plot_robustness

        if not self.robustness:
            return []
        plot_robustness(folder / "robustness.png", self.robustness)
        return [folder / "robustness.png"]

    def store(self, paths: list[Path]) -> None:
        """Write each model's robustness into its weights file's metadata."""
        from safetensors.torch import load_file

        from agecli.weights import read_metadata, save_weights

        for path, one in zip(paths, self.robustness.values(), strict=True):
            metadata = read_metadata(path)
            metrics = metadata.metrics | {"robustness": one.brief()}
            save_weights(path, load_file(path), replace(metadata, metrics=metrics), half=False)


def check_store(paths: list[Path], *, robustness: bool, split: str, force: bool) -> None:
    """Raise UsageError where there is nothing that could be stored, or nowhere to store it."""
    if not robustness:
        raise UsageError("--store: it keeps the figures of --robustness: give that, too")
    if split != "test" or force:
        raise UsageError("--store: a weights file holds figures on its test split: leave out "
                         "--split and --force")  # fmt: skip
    for path in paths:
        if path.suffix != ".safetensors":
            raise UsageError(f"--store: {path} is an export: store it in the weights it is made of")


def measure(
    models: list[Model], paths: list[Path], names: list[str], dataset: Dataset, split: str, *,
    robustness: bool, photographs: bool, flip: bool, batch_size: int, device: Any,
) -> Extras:  # fmt: skip
    """Measure what is asked for; several processes of a launch share the robustness."""
    from agecli.data.workers import default_workers
    from agecli.evaluation.photographs import measure_photographs
    from agecli.evaluation.robustness import align_pictures, measure_robustness
    from agecli.inference.predictor import Predictor

    lost: list[Robustness] = []
    if robustness:
        with _bar("disturbed images") as progress:
            lost = measure_robustness(
                models, dataset, split, align=align_pictures, flip=flip, batch_size=batch_size,
                parallel=True, progress=progress,
            )  # fmt: skip
    seen = None
    if photographs and distributed.is_main():
        predictor = Predictor(paths, device=device, flip=flip, workers=default_workers())
        with _bar("photographs") as progress:
            seen = measure_photographs(
                predictor, dataset, split, flip=flip, batch_size=batch_size, progress=progress
            )
    return Extras(dict(zip(names, lost, strict=False)), seen, names)


@contextmanager
def _bar(text: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import Progress

    from agecli.commands._console import err

    quiet = not err.is_terminal or not distributed.is_main()
    with Progress(console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _table(title: str, cells: list[list[str]]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1)
    )
    for number, name in enumerate(cells[0]):
        table.add_column(escape(name), justify="right" if number else "left", no_wrap=not number)
    for row in cells[1:]:
        worst = (f"[bold red]{cell}[/]" if cell.startswith("worst") else cell for cell in row)
        table.add_row(*worst)
    return table
