"""The live display of a training, plain lines without a terminal, and the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agecli import distributed
from agecli.commands._console import err, out, say, show_json
from agecli.commands._memory import plan_text
from agecli.errors import pasteable
from agecli.training.observer import Observer

if TYPE_CHECKING:
    from agecli.training.memory_plan.budget import Plan
    from agecli.training.records import Epoch, Started, Step
    from agecli.training.train import Trained

SHOWN_EPOCHS = 8


class Display(Observer):
    """The lines that every display prints to stderr, above the bars if there are any."""

    run: Path | None = None
    """The run folder, once there is one."""

    def opened(self, run: Path) -> None:
        """Remember the folder, for the message on interruption."""
        self.run = run

    def planned(self, plan: Plan) -> None:
        """Print the settings that fit the training to its budget."""
        say(plan_text(plan))

    def started(self, training: Started) -> None:
        """Print what is trained, and on what."""
        say(
            f"{training.model}: {training.parameters / 1e6:.2f} M parameters, "
            f"{training.train_images:,} images to train on, {training.val_images:,} to validate, "
            f"{training.device}, run {training.run}"
        )

    def warned(self, text: str) -> None:
        """Print a notice."""
        say(f"agecli: {text}")

    def close(self) -> None:
        """Leave the screen as it is."""


class PlainDisplay(Display):
    """A line per epoch on stderr, for logs and pipes."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Print a line when it is done."""
        if done == total:
            say(f"{what}: {total:,} images")

    def finished_epoch(self, epoch: Epoch) -> None:
        """Print the epoch's figures."""
        say(", ".join(f"{name} {value}" for name, value in _cells(epoch).items() if value))


class LiveDisplay(Display):
    """Bars of epochs and steps, and a table of the last epochs, updated live on stderr."""

    def __init__(self) -> None:
        self.live = Live(console=err, refresh_per_second=4)
        self.bars = Progress(
            TextColumn("{task.description:<6}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=err,
        )
        self.history: list[Epoch] = []
        self.epochs = self.bars.add_task("epoch", total=None, note="")
        self.steps = self.bars.add_task("step", total=None, note="")

    def prepared(self, what: str, done: int, total: int) -> None:
        """Advance the bar of steps, the only one so far."""
        self.bars.update(self.epochs, visible=False)
        self.bars.update(self.steps, total=total, completed=done, note=what)
        self._refresh()

    def started(self, training: Started) -> None:
        """Show what is trained, and empty bars."""
        super().started(training)
        self.history = []  # a run of two stages starts twice
        done, total = training.done, training.epochs
        self.bars.update(self.epochs, total=total, completed=done, visible=True)
        self.bars.update(self.steps, total=None, completed=0, note="")
        self._refresh()

    def stepped(self, step: Step) -> None:
        """Advance the bar of steps, and the epochs' bar in proportion."""
        share = step.step / step.steps
        self.bars.update(self.epochs, completed=round(step.epoch - 1 + share, 2))
        note = f"loss {step.loss:.3f}  lr {step.lr:.1e}  {step.images_per_second:.0f} images/s"
        note += f"  {step.memory / 2**30:.1f} GiB"
        self.bars.update(self.steps, total=step.steps, completed=step.step, note=note)
        self._refresh()

    def finished_epoch(self, epoch: Epoch) -> None:
        """Add the epoch's row."""
        self.history.append(epoch)
        self.bars.update(self.epochs, completed=epoch.epoch)
        self._refresh()

    def close(self) -> None:
        """Leave the bars and the table on the screen as they are."""
        self.live.stop()

    def _refresh(self) -> None:
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        shown = [(epoch, _cells(epoch)) for epoch in self.history[-SHOWN_EPOCHS:]]
        for name in shown[0][1] if shown else []:
            table.add_column(name, justify="right")
        for epoch, cells in shown:
            table.add_row(*cells.values(), style="bold" if epoch.best else "")
        self.live.update(Group(self.bars, table))
        self.live.start()  # as soon as there is something to show


@contextmanager
def training_display(model: str) -> Iterator[Observer]:
    """Show a training on stderr; when it is interrupted, print how to resume.

    With several processes, only the first shows it.
    """
    if not distributed.is_main():
        yield Observer()
        return
    display = LiveDisplay() if err.is_terminal else PlainDisplay()
    try:
        yield display
    except KeyboardInterrupt:
        display.close()
        if display.run:
            way_on = pasteable("agecli", "train", model, "--resume", display.run)
            say(f"stopped; finished epochs are saved: {way_on}")
        raise
    finally:
        display.close()


def show_result(done: Trained, as_json: bool) -> None:
    """Print the figures on the test split, and the path of the weights."""
    from agecli.commands._tables import lay_out
    from agecli.evaluation.metrics import Scores
    from agecli.evaluation.report.tables import scores_grid

    result = done.metadata
    if as_json:
        weights = str(done.weights)
        summary = {"weights": weights, "metrics": result.metrics, "training": result.training}
        show_json(summary)
        return
    say(f"best epoch {result.training['best_epoch']}, weights in {done.weights}")
    if result.metrics:
        title = f"{result.title or result.model} on the test split"
        out.print(lay_out(scores_grid(Scores.read(result.metrics), title)))


def _cells(epoch: Epoch) -> dict[str, str]:
    """Return an epoch's cells by column."""
    val = epoch.val
    return {
        "epoch": str(epoch.epoch),
        "loss": f"{epoch.train_loss:.3f}",
        "val loss": f"{val.loss:.3f}",
        "exact": f"{val.exact:.1%}",
        "1-off": f"{val.one_off:.1%}",
        **({"MAE": f"{val.mae:.2f}"} if val.mae is not None else {}),
        "lr": f"{epoch.lr:.1e}",
        "images/s": f"{epoch.images_per_second:.0f}",
        "seconds": f"{epoch.seconds:.0f}",
        "": "best" if epoch.best else "",
    }
