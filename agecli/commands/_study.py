"""The display of a search: live, or plain lines without a terminal; and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agecli.commands._console import err, out, say, show_json
from agecli.config import flag_of
from agecli.errors import pasteable
from agecli.tuning.tune import SearchObserver

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from agecli.tuning.study import Study, StudyProgress
    from agecli.tuning.summary import Summary

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Most characters of the sparkline."""


@contextmanager
def search_display() -> Iterator[SearchObserver]:
    """Show a search on stderr; when it is interrupted, print how to continue."""
    display = LiveSearch() if err.is_terminal else PlainSearch()
    try:
        yield display
    except KeyboardInterrupt:
        display.close()
        say("stopped; finished trials and epochs are saved: run the same command to continue")
        raise
    finally:
        display.close()


class Display(SearchObserver):
    """The lines that every display prints."""

    def opened(self, study: Study, workers: int) -> None:
        """Print what is searched, and remember the study."""
        self.study, self.workers = study, workers
        spec = study.spec
        say(
            f"{spec.model}: searching {', '.join(spec.space)} for the best {spec.metric}, "
            f"{spec.base.epochs} epochs per trial, {workers} worker{'s' * (workers > 1)}, "
            f"study {study.folder}"
        )

    def warned(self, text: str) -> None:
        """Print a notice."""
        say(f"agecli: {text}")

    def close(self) -> None:
        """Release the screen."""


class PlainSearch(Display):
    """A line per finished trial, for logs and pipes."""

    seen: set[int] | None = None

    def progressed(self, progress: StudyProgress) -> None:
        """Print the trials that have finished since the last call."""
        known = self.seen if self.seen is not None else {t.number for t in progress.finished}
        for trial in progress.finished:
            if trial.number not in known:
                self._line(trial, progress)
        self.seen = {trial.number for trial in progress.finished}

    def _line(self, trial: FrozenTrial, progress: StudyProgress) -> None:
        state = trial.state.name.lower()
        value = "" if trial.value is None else f" {value_text(self.study.spec.metric, trial.value)}"
        best = ", best" if progress.best and progress.best.number == trial.number else ""
        why = f" ({trial.user_attrs['error']})" if "error" in trial.user_attrs else ""
        say(
            f"trial {trial.number}: {state}{value}{why}, {options_text(trial.params)}{best} "
            f"[{progress.done}/{progress.trials}]"
        )


class LiveSearch(Display):
    """Trials by state, the course of the best value, and the time left."""

    def __init__(self) -> None:
        self.live = Live(console=err, auto_refresh=False, transient=True)
        self.last: Any = None

    def progressed(self, progress: StudyProgress) -> None:
        """Draw the current state."""
        left = time_left(progress, self.workers)
        state = (progress.done, progress.running, progress.best and progress.best.number, left)
        if state == self.last:
            return
        self.last = state
        facts = Table.grid(padding=(0, 2))
        counts = f"{progress.done}/{progress.trials}"
        facts.add_row("trials", ProgressBar(progress.trials, progress.done, width=24), counts)
        states = f"running {progress.running}, finished {progress.complete}, "
        states += f"pruned {progress.pruned}, failed {progress.failed}"
        lines: list[Any] = [facts, Text(f"{states}{left and f', about {left} left'}")]
        if progress.best:
            value = value_text(self.study.spec.metric, progress.best.value)
            lines.append(Text(f"best {value}, trial {progress.best.number}  ", "bold", end=""))
            lines.append(Text(sparkline(progress.history, self.study.spec.minimises), "green"))
            lines.append(Text(options_text(progress.best.params), "dim"))
        self.live.start()
        self.live.update(Group(*lines), refresh=True)

    def close(self) -> None:
        """Release the screen."""
        self.live.stop()


def show_summary(summary: Summary, as_json: bool) -> None:
    """Print the results of a search, and how to train with them."""
    if as_json:
        show_json(asdict(summary))
        return
    for table in study_tables(summary):
        out.print(table)
    say(f"agecli: plots in {summary.study}, all of them in {summary.files[-1]}")
    if summary.best:
        way_on = pasteable("agecli", "train", summary.model, "--from-study", summary.study)
        say(f"agecli: train with the best settings: {way_on}")


def study_tables(summary: Summary) -> list[Table]:
    """Return tables of the best trials, and of the settings by importance."""
    counts = ", ".join(f"{count} {state}" for state, count in summary.trials.items() if count)
    top = Table(
        title=f"{summary.model}: the best trials ({counts or 'none yet'})", title_justify="left",
        title_style="bold", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for name in ("trial", summary.metric.removeprefix("val_").replace("_", "-"), "epochs"):
        top.add_column(name, justify="right", no_wrap=True)
    top.add_column("settings")
    for row in summary.top:
        note = "the defaults: " if row == summary.defaults else ""
        cells = [str(row.trial), value_text(summary.metric, row.value), str(row.epochs)]
        settings = note + options_text(row.settings)
        top.add_row(*cells, settings, style="bold" if row == summary.best else "")
    if not summary.importances:
        return [top]
    shares = Table(
        "Importance: share of the variance between trials (fANOVA)", box=None,
        header_style="bold", padding=0,
    )  # fmt: skip
    rows = Table.grid(padding=(0, 2))
    for name, share in summary.importances.items():
        rows.add_row(name, ProgressBar(1.0, share, width=24), f"{share:4.0%}")
    shares.add_row(rows)
    return [top, shares]


def options_text(settings: dict[str, Any]) -> str:
    """Format settings as options of `agecli train`, with rounded numbers."""
    texts = (
        f"{flag_of(name)} {f'{value:.3g}' if isinstance(value, float) else value}"
        for name, value in settings.items()
    )
    return " ".join(texts)


def value_text(metric: str, value: float | None) -> str:
    """Format a value of the metric: a share in percent, a loss as it is."""
    if value is None:
        return "–"
    return f"{value:.4f}" if metric == "val_loss" else f"{value:.1%}"


def sparkline(values: list[float], minimises: bool = False) -> str:
    """Draw values as bars of eight heights, thinned to a line's width; better is higher."""
    if len(values) > WIDTH:
        values = [values[round(i * (len(values) - 1) / (WIDTH - 1))] for i in range(WIDTH)]
    heights = [-value for value in values] if minimises else values
    low, high = min(heights), max(heights)
    span = high - low or 1.0
    return "".join(BARS[round((h - low) / span * (len(BARS) - 1))] for h in heights)


def time_left(progress: StudyProgress, workers: int) -> str:
    """Return in words how long the remaining trials will take; empty if unknown."""
    if not progress.seconds:
        return ""
    minutes = (progress.trials - progress.done) * progress.seconds / max(1, workers) / 60
    if minutes < 1:
        return "a minute"
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes // 60:.0f} h {minutes % 60:02.0f} min"
