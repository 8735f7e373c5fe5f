"""The live display of a training, plain lines where there is no terminal, and the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agecli import distributed
from agecli.commands._console import err, out
from agecli.training.observer import Observer

if TYPE_CHECKING:
    from agecli.training.runs import Run
    from agecli.weights import Metadata

SHOWN_EPOCHS = 8


class PlainDisplay(Observer):
    """A line per epoch on stderr, for logs and pipes."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Say when it is done."""
        if done == total:
            err.print(f"{what}: {total:,} images", highlight=False, soft_wrap=True)

    def started(self, facts: dict[str, Any]) -> None:
        """Say what is trained on what."""
        err.print(_headline(facts), highlight=False, soft_wrap=True)

    def warned(self, text: str) -> None:
        """Say what went otherwise than asked."""
        err.print(f"agecli: {text}", highlight=False, soft_wrap=True)

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """Say how the epoch went."""
        text = ", ".join(f"{name} {value}" for name, value in _epoch_cells(record).items() if value)
        err.print(text, highlight=False, soft_wrap=True)


class LiveDisplay(Observer):
    """Bars of epochs and steps, and a table of the last epochs, kept up to date on stderr."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.bars = Progress(
            TextColumn("{task.description:<6}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=live.console,
        )
        self.records: list[dict[str, Any]] = []
        self.epochs = self.bars.add_task("epoch", total=None, note="")
        self.steps = self.bars.add_task("step", total=None, note="")

    def prepared(self, what: str, done: int, total: int) -> None:
        """Move the bar of steps, the only one so far."""
        self.bars.update(self.epochs, visible=False)
        self.bars.update(self.steps, total=total, completed=done, note=what)
        self._refresh()

    def started(self, facts: dict[str, Any]) -> None:
        """Show what is trained, and empty bars."""
        self.records = []  # a run of two stages starts twice
        self.live.console.print(_headline(facts), highlight=False)
        done, total = facts["done"], facts["epochs"]
        self.bars.update(self.epochs, total=total, completed=done, visible=True)
        self.bars.update(self.steps, total=None, completed=0, note="")
        self._refresh()

    def stepped(self, progress: dict[str, Any]) -> None:
        """Move the bar of steps, and the epochs' by its share."""
        share = progress["step"] / progress["steps"]
        self.bars.update(self.epochs, completed=round(progress["epoch"] - 1 + share, 2))
        self.bars.update(
            self.steps,
            total=progress["steps"],
            completed=progress["step"],
            note=f"loss {progress['loss']:.3f}  lr {progress['lr']:.1e}  "
            f"{progress['images_per_second']:.0f} images/s  {progress['memory'] / 2**30:.1f} GiB",
        )
        self._refresh()

    def warned(self, text: str) -> None:
        """Say above the bars what went otherwise than asked."""
        self.live.console.print(f"agecli: {text}", highlight=False)

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """Add the epoch's row."""
        self.records.append(record)
        self.bars.update(self.epochs, completed=record["epoch"])
        self._refresh()

    def _refresh(self) -> None:
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        shown = [_epoch_cells(record) for record in self.records[-SHOWN_EPOCHS:]]
        for name in shown[0] if shown else []:
            table.add_column(name, justify="right")
        for cells, record in zip(shown, self.records[-SHOWN_EPOCHS:], strict=True):
            table.add_row(*cells.values(), style="bold" if record["best"] else "")
        self.live.update(Group(self.bars, table))


@contextmanager
def training_display(model: str, run: Path) -> Iterator[Observer]:
    """Show a training on stderr; when it is interrupted, say how to go on.

    Of several processes, only the first one shows it.
    """
    if not distributed.is_main():
        yield Observer()
        return
    try:
        if err.is_terminal:
            with Live(console=err, refresh_per_second=4) as live:
                yield LiveDisplay(live)
        else:
            yield PlainDisplay()
    except KeyboardInterrupt:
        way_on = f"agecli train {model} --resume {run}"
        err.print(f"stopped; finished epochs are kept: {way_on}", highlight=False, soft_wrap=True)
        raise


def show_result(result: Metadata, run: Run, as_json: bool) -> None:
    """Print the figures on the test split, and where the weights are."""
    from agecli.commands._tables import lay_out
    from agecli.evaluation.metrics import Scores
    from agecli.evaluation.report.tables import scores_grid

    figures = result.metrics
    if as_json:
        summary = {"weights": str(run.best), "metrics": figures, "training": result.training}
        out.print_json(json.dumps(summary))
        return
    err.print(f"best epoch {result.training['best_epoch']}, weights in {run.best}", highlight=False)
    if not figures:
        return
    title = f"{result.title or result.model} on the test split"
    out.print(lay_out(scores_grid(Scores.read(figures), title)))


def _headline(facts: dict[str, Any]) -> str:
    return (
        f"{facts['model']}: {facts['parameters'] / 1e6:.2f} M parameters, "
        f"{facts['train_images']:,} images to train on, {facts['val_images']:,} to validate, "
        f"{facts['device']}, run {facts['run']}"
    )


def _figures(record: dict[str, Any]) -> dict[str, str]:
    """Return what an epoch reached on validation."""
    mae = record.get("val_mae")
    return {
        "exact": f"{record['val_exact']:.1%}",
        "1-off": f"{record['val_one_off']:.1%}",
        **({"MAE": f"{mae:.2f}"} if mae else {}),
    }


def _epoch_cells(record: dict[str, Any]) -> dict[str, str]:
    return {
        "epoch": str(record["epoch"]),
        "loss": f"{record['train_loss']:.3f}",
        "val loss": f"{record['val_loss']:.3f}",
        **_figures(record),
        "lr": f"{record['lr']:.1e}",
        "images/s": f"{record['images_per_second']:.0f}",
        "seconds": f"{record['seconds']:.0f}",
        "": "best" if record["best"] else "",
    }
