"""Log a training's figures to TensorBoard, wandb and others through accelerate's trackers.

No tracker is imported without --log-to. Only the first process of a launch logs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agecli.config import TrainConfig
from agecli.errors import UsageError, brief
from agecli.training.records import Epoch
from agecli.training.runs import Run

PROJECT = "agecli"
"""The project's name in tracking services."""
PLAIN = (str, int, float, bool)
"""Types of settings that trackers accept as they are."""


def check_tracker(name: str) -> None:
    """Raise UsageError for a --log-to whose package is not installed."""
    if name == "none":
        return
    from accelerate.tracking import get_available_trackers

    if name not in map(str, get_available_trackers()):
        ours = "agecli[tensorboard]" if name == "tensorboard" else name.replace("_", "-")
        raise UsageError(f'--log-to: {name} is not installed: pip install "{ours}"')


class Tracker:
    """Logs the settings at the start, each epoch's figures, and those on the test split.

    Never stops a training: after its first failure it warns once and logs no more.
    """

    def __init__(self, config: TrainConfig, run: Run, warn: Callable[[str], None]) -> None:
        self.config, self.run, self.warn = config, run, warn
        self.inner: Any = None

    def start(self, *, resumed: bool) -> None:
        """Open the tracker of --log-to, if any; log the settings of a new run."""
        if self.config.log_to != "none":
            self._try(lambda: self._open(resumed))

    def add(self, epoch: Epoch) -> None:
        """Log an epoch's figures, as in metrics.jsonl."""
        self._log(epoch.to_plain(), epoch.epoch)

    def finish(self, metrics: dict[str, Any], epochs: int) -> None:
        """Log the figures on the test split, if any, after so many epochs; close the tracker."""
        self._log({f"test_{name}": value for name, value in metrics.items()}, epochs)
        if self.inner:
            self._try(self.inner.finish)

    def _open(self, resumed: bool) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        name, folder = self.config.log_to, self.run.folder
        kind = LOGGER_TYPE_TO_CLASS[name]
        if kind.requires_logging_directory:
            inner = kind(name, logging_dir=folder)  # fills RUN/tensorboard
        else:
            named = {"name": folder.name, "dir": str(folder)} if name == "wandb" else {}
            inner = kind(PROJECT, **named)
        inner.main_process_only = False  # this is that process, which accelerate may not know
        inner.start()
        if not resumed:
            values = vars(self.config) | {"run": folder.name}
            inner.store_init_configuration(
                {k: v if isinstance(v, PLAIN) else str(v) for k, v in values.items()}
            )
        self.inner = inner

    def _log(self, values: dict[str, Any], step: int) -> None:
        numbers = {
            name: value for name, value in values.items()
            if isinstance(value, int | float) and name not in ("epoch", "best")
        }  # fmt: skip
        if self.inner and numbers:
            self._try(lambda: self.inner.log(numbers, step=step))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # from any service: its network, its login, its disk
            self.inner = None
            self.warn(f"--log-to {self.config.log_to} failed, and is switched off: {brief(error)}")
