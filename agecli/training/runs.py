"""The run folder: config.json, metrics.jsonl, last/, best.safetensors, log.txt."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agecli import distributed
from agecli.config import Table, TrainConfig, read_config
from agecli.errors import TrainingError, UsageError, brief
from agecli.files import whole, write_text
from agecli.reading import convert, decode, read_json, read_text
from agecli.training.records import Epoch

State = dict[str, Any]
"""A run's state: its history, the number of processes, and the state of each of its parts."""


class Run:
    """A folder that one training fills; every file in it is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.safetensors"
        self.state = folder / "last" / "state.pt"

    @classmethod
    def create(cls, folder: Path, config: TrainConfig) -> Run:
        """Start a new run in an empty or absent folder. Raises TrainingError for any other."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TrainingError(
                f"{folder} is in use: continue it with --resume {folder}, or give another --run"
            )
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder)
        run.configure(config)
        return run

    def configure(self, config: TrainConfig) -> None:
        """Keep the configuration that the run goes on with."""
        write_text(self.folder / "config.json", json.dumps(asdict(config), indent=1) + "\n")

    @classmethod
    def open(cls, folder: Path) -> tuple[Run, TrainConfig]:
        """Open a run to continue it, with the configuration it was started with.

        Raises TrainingError for a folder that is no run or is damaged, UsageError for settings that
        its model does not have.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise TrainingError(f"No run in {folder}: --resume takes a folder of `agecli train`")
        try:
            return cls(folder), read_config(read_json(path, Table))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged ({error}): put it back, or start a new run"
            ) from error

    @staticmethod
    def free_folder(model: str) -> Path:
        """Name the next free folder: runs/cnn, runs/cnn-2, ..."""
        number = 1
        while (folder := Path("runs", model if number == 1 else f"{model}-{number}")).exists():
            number += 1
        return folder

    def save(self, history: Sequence[Epoch], **state: Any) -> None:
        """Keep all that is needed to go on as if nothing had happened, and the metrics so far."""
        import torch

        records = [epoch.to_plain() for epoch in history]
        self.state.parent.mkdir(exist_ok=True)
        with whole(self.state) as partial:
            torch.save({"history": records, "world": distributed.world()} | state, partial)
        lines = (json.dumps(record) + "\n" for record in records)
        write_text(self.folder / "metrics.jsonl", "".join(lines))

    def history(self) -> list[Epoch]:
        """Return the epochs so far, as metrics.jsonl has them.

        Raises TrainingError for a file that is damaged.
        """
        path = self.folder / "metrics.jsonl"
        if not self.begun or not path.exists():
            return []
        try:
            lines = read_text(path).splitlines()
            return _read_history([decode(line, dict[str, Any]) for line in lines])
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged ({error}): put it back, or start a new run"
            ) from error

    @property
    def begun(self) -> bool:
        """Return whether an epoch was finished."""
        return self.state.exists()

    def load(self) -> State | None:
        """Read back what `save` kept, or None where no epoch was finished.

        Raises TrainingError for a file that is damaged.
        """
        import torch

        if not self.begun:
            return None
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
            known = convert(state, _State)
            return state | {"history": _read_history(known.history)}
        except Exception as error:  # a damaged file raises whatever the unpickler stumbles over
            reason = brief(error if isinstance(error, ValueError) else "no state of a run")
            raise TrainingError(
                f"{self.state} is damaged ({reason}): put it back, or start a new run"
            ) from error

    def log(self, text: str) -> None:
        """Add a line with the time to log.txt."""
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


@dataclass(frozen=True)
class _State:
    """What every run's state has, beside the parts of its trainer."""

    history: list[dict[str, Any]]
    world: int = 1


def _read_history(records: list[dict[str, Any]]) -> list[Epoch]:
    """Read epochs as they were kept. Raises ValueError where one is missing or no epoch."""
    history = [Epoch.from_plain(record) for record in records]
    if [epoch.epoch for epoch in history] != [*range(1, len(history) + 1)]:
        raise ValueError("its epochs are not 1, 2, 3, ...")
    if history and not history[0].best:
        raise ValueError("its first epoch is not the best so far")
    return history


def check_world(state: State) -> None:
    """Raise TrainingError where a run's state is that of another number of processes."""
    before, here = state.get("world", 1), distributed.world()
    if before != here:
        raise TrainingError(
            f"This run has batches of {before} processes, and here {here} would go on "
            f"with it: start {before}, or a new run"
        )
