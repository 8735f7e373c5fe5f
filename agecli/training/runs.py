"""The run folder: config.json, metrics.jsonl, last/, best.safetensors, log.txt."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from agecli import distributed
from agecli.config import TrainConfig, read_config
from agecli.data.store import Dataset
from agecli.errors import DataError, TrainingError, pasteable
from agecli.files import clear_leftovers, room_for, whole, write_text
from agecli.training.records import Epoch
from agecli.weights import read_metadata

CONFIG, METRICS = "config.json", "metrics.jsonl"

State = dict[str, Any]
"""A run's state: its history, the number of processes, and the state of each of its parts."""


class Run:
    """A folder that one training fills; every file in it is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.safetensors"
        self._state = folder / "last" / "state.pt"

    @classmethod
    def create(cls, folder: Path, config: TrainConfig) -> Run:
        """Start a new run in an empty or absent folder. Raises TrainingError for any other."""
        if folder.is_dir():
            clear_leftovers(folder.absolute())  # of a training that was killed at its very start
        if (folder / CONFIG).exists():
            way_on = pasteable("--resume", folder)
            raise TrainingError(f"{folder} is in use: continue it with {way_on}, or give another "
                                "--run")  # fmt: skip
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TrainingError(f"{folder} is in use, and by no run: give another --run")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder)
        run.configure(config)
        return run

    def configure(self, config: TrainConfig) -> None:
        """Keep the configuration that the run goes on with."""
        write_text(self.folder / CONFIG, json.dumps(asdict(config), indent=1) + "\n")

    @classmethod
    def open(cls, folder: Path) -> tuple[Run, TrainConfig]:
        """Open a run to continue it, with the configuration it was started with.

        Raises TrainingError for a folder that is no run or is damaged.
        """
        try:
            text = (folder / CONFIG).read_text(encoding="utf-8")
            return cls(folder), read_config(json.loads(text))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TrainingError(
                f"No run in {folder}: --resume takes a folder of `agecli train`"
            ) from error
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise TrainingError(f"{folder / 'config.json'} is damaged: {error}") from error

    @staticmethod
    def free_folder(model: str) -> Path:
        """Make the next free folder: runs/cnn, runs/cnn-2, ..."""
        for number in count(1):
            folder = Path("runs", model if number == 1 else f"{model}-{number}")
            with suppress(FileExistsError):  # another training may make one at the same time
                folder.mkdir(parents=True)
                break
        return folder

    def save(self, history: Sequence[Epoch], **state: Any) -> None:
        """Keep all that is needed to go on as if nothing had happened, and the metrics so far.

        Raises DiskError where there is no room.
        """
        import torch
        from torch.utils._pytree import tree_leaves

        records = [epoch.to_plain() for epoch in history]
        # The metrics first: an epoch that the state lacks is trained, and told of, once more.
        write_text(self.folder / METRICS, "".join(json.dumps(record) + "\n" for record in records))
        self._state.parent.mkdir(exist_ok=True)
        needed = sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor))
        with whole(self._state, needed=needed) as partial, partial.open("wb") as file:
            torch.save({"history": records, "world": distributed.world()} | state, file)

    def history(self) -> list[Epoch]:
        """Return the epochs so far, as metrics.jsonl has them."""
        path = self.folder / METRICS
        if not self.begun or not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Epoch.from_plain(json.loads(line)) for line in lines]

    @property
    def begun(self) -> bool:
        """Return whether an epoch was finished."""
        return self._state.exists()

    def load(self) -> State | None:
        """Read back what `save` kept, or None where no epoch was finished.

        Raises TrainingError for a file that is damaged.
        """
        import pickle

        import torch

        if not self.begun:
            return None
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{self._state} is damaged: start the training again") from error
        return state | {"history": [Epoch.from_plain(record) for record in state["history"]]}

    def check_data(self, dataset: Dataset) -> None:
        """Raise DataError for a data set with another split than this run has seen so far."""
        if not self.begun:
            return
        if read_metadata(self.best).split_hash != dataset.split_hash:
            raise DataError(
                f"--data: {dataset.folder} has another split than the data of {self.folder}: give "
                "the same data set, or one prepared from the same pictures with the same options"
            )

    def log(self, text: str) -> None:
        """Add a line with the time to log.txt."""
        path = self.folder / "log.txt"
        with room_for(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def check_world(state: State) -> None:
    """Raise TrainingError where a run's state is that of another number of processes."""
    before, here = state.get("world", 1), distributed.world()
    if before != here:
        raise TrainingError(
            f"This run has batches of {before} processes, and here {here} would go on "
            f"with it: start {before}, or a new run"
        )
