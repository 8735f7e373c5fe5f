"""The run folder: config.json, metrics.jsonl, last/, best.safetensors, log.txt."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from agecli import distributed
from agecli.config import Table, TrainConfig, read_config
from agecli.data.store import Dataset
from agecli.errors import DataError, TrainingError, UsageError, brief, pasteable
from agecli.files import clear_leftovers, room_for, write_bytes, write_text
from agecli.reading import convert, decode, read_json, read_text
from agecli.training.records import Epoch
from agecli.weights import read_metadata

CONFIG, METRICS = "config.json", "metrics.jsonl"

State = dict[str, Any]
"""A run's state: its history, the number of processes, and the state of each of its parts."""


class Run:
    """The folder of one training; every file in it is written completely or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.safetensors"
        self.state = folder / "last" / "state.pt"

    @classmethod
    def create(cls, folder: Path, config: TrainConfig) -> Run:
        """Create a run in an empty or absent folder. Raises TrainingError for any other."""
        if folder.is_dir():
            clear_leftovers(folder.absolute())  # from a training killed at its very start
        if (folder / CONFIG).exists():
            way_on = pasteable("--resume", folder)
            raise TrainingError(f"{folder} is in use: continue it with {way_on}, or choose another "
                                "--run")  # fmt: skip
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TrainingError(f"{folder} is not empty and not a run: choose another --run")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder)
        run.configure(config)
        return run

    def configure(self, config: TrainConfig) -> None:
        """Write the configuration that the run continues with."""
        write_text(self.folder / CONFIG, json.dumps(asdict(config), indent=1) + "\n")

    @classmethod
    def open(cls, folder: Path) -> tuple[Run, TrainConfig]:
        """Open a run to continue it, with the configuration it was started with.

        Raises TrainingError for a folder that is not a run or is damaged, UsageError for settings
        that its model does not have.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise TrainingError(f"No run in {folder}: --resume takes a folder of `agecli train`")
        try:
            return cls(folder), read_config(read_json(path, Table))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged ({error}): restore it, or start a new run"
            ) from error

    @staticmethod
    def free_folder(model: str) -> Path:
        """Create and return the next free folder: runs/cnn, runs/cnn-2, ..."""
        for number in count(1):
            folder = Path("runs", model if number == 1 else f"{model}-{number}")
            with suppress(FileExistsError):  # another training may create it at the same time
                folder.mkdir(parents=True)
                break
        return folder

    def save(self, history: Sequence[Epoch], **state: Any) -> None:
        """Save all that is needed to resume exactly, and the metrics so far.

        Raises DiskError if the disk is full.
        """
        import torch

        records = [epoch.to_plain() for epoch in history]
        self.state.parent.mkdir(exist_ok=True)
        content = io.BytesIO()
        torch.save(  # torch's zip writer aborts the process on an error or Ctrl-C
            {"history": records, "world": distributed.world()} | state, content,
            _use_new_zipfile_serialization=False,
        )  # fmt: skip
        write_bytes(self.state, content.getbuffer())
        self._write_metrics(history)  # if killed before this, `load` does it

    def _write_metrics(self, history: Sequence[Epoch]) -> None:
        lines = "".join(json.dumps(epoch.to_plain()) + "\n" for epoch in history)
        path = self.folder / METRICS
        if not path.exists() or path.read_bytes() != lines.encode():
            write_text(path, lines)

    def history(self) -> list[Epoch]:
        """Return the epochs so far, from metrics.jsonl.

        Raises TrainingError for a damaged file.
        """
        path = self.folder / METRICS
        if not self.begun or not path.exists():
            return []
        try:
            lines = read_text(path).splitlines()
            return _read_history([decode(line, dict[str, Any]) for line in lines])
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged ({error}): restore it, or start a new run"
            ) from error

    @property
    def begun(self) -> bool:
        """Return whether an epoch has been finished."""
        return self.state.exists()

    def load(self) -> State | None:
        """Return the saved state, or None if no epoch was finished; repair the metrics from it.

        Raises TrainingError for a damaged file.
        """
        import torch

        if not self.begun:
            return None
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
            known = convert(state, _State)
            history = _read_history(known.history)
        except Exception as error:  # a damaged file can raise anything
            reason = brief(error if isinstance(error, ValueError) else "not the state of a run")
            raise TrainingError(
                f"{self.state} is damaged ({reason}): restore it, or start a new run"
            ) from error
        self._write_metrics(history)
        return state | {"history": history}

    def check_data(self, dataset: Dataset) -> None:
        """Raise DataError for a data set whose split differs from the one this run started on."""
        if not self.begun:
            return
        if read_metadata(self.best).split_hash != dataset.split_hash:
            raise DataError(
                f"--data: {dataset.folder} has another split than the data of {self.folder}: pass "
                "the same data set, or one prepared from the same pictures with the same options"
            )

    def log(self, text: str) -> None:
        """Add a line with the time to log.txt."""
        path = self.folder / "log.txt"
        with room_for(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


@dataclass(frozen=True)
class _State:
    """The part of a run's state that is common to all trainers."""

    history: list[dict[str, Any]]
    world: int = 1


def _read_history(records: list[dict[str, Any]]) -> list[Epoch]:
    """Return saved epochs. Raises ValueError if one is missing or invalid."""
    history = [Epoch.from_plain(record) for record in records]
    if [epoch.epoch for epoch in history] != [*range(1, len(history) + 1)]:
        raise ValueError("its epochs are not 1, 2, 3, ...")
    if history and not history[0].best:
        raise ValueError("its first epoch is not the best so far")
    return history


def check_world(state: State) -> None:
    """Raise TrainingError if a run's state was saved by another number of processes."""
    before, here = state.get("world", 1), distributed.world()
    if before != here:
        raise TrainingError(
            f"This run has batches of {before} processes, and here {here} would go on "
            f"with it: start {before}, or a new run"
        )
