"""Train a model: `agecli train` as a Python function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agecli import distributed
from agecli.config import PLACE, TrainConfig, configure
from agecli.data.store import open_for
from agecli.errors import DataError, DiskError, UsageError, pasteable
from agecli.registry import MODELS
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.trackers import check_tracker

if TYPE_CHECKING:
    from agecli.weights import Metadata


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    run: Path
    """The run's folder."""
    config: TrainConfig
    """Its settings, including all that was chosen or found automatically."""
    metadata: Metadata
    """The weights file's metadata; `metrics` are those on the test split."""

    @property
    def weights(self) -> Path:
        """Return the weights file of the best epoch."""
        return Run(self.run).best


def train(
    model: str | TrainConfig, *, run: str | Path | None = None, observer: Observer | None = None,
    **settings: Any,
) -> Trained:  # fmt: skip
    """Train a model given by name or configuration, with other settings: `train("cnn", epochs=3)`.

    settings: fields of the model's class in `agecli.config`, `data` among them. run: the folder to
    fill; runs/MODEL by default. observer: receives the progress. Raises UsageError for a wrong
    setting, DataError for an unusable data set, WeightsError for unusable initial weights,
    TrainingError for a folder in use, a loss that diverges or too little memory.
    """
    observer = observer or Observer()
    config = configure(model, **settings)
    dataset = open_for(config)  # fail before anything is created
    config = settle(config, observer.warned)
    if config.vram_budget:
        from agecli.inference.pytorch import find_device
        from agecli.training.memory_plan.budget import plan_training

        plan = plan_training(config, dataset, find_device(config.device))
        observer.planned(plan)
        config = plan.config
    folder = Path(run) if run else None
    opened = distributed.from_main(
        lambda: Run.create(folder or Run.free_folder(config.model), config)
    )
    return _fill(opened, config, observer)


def resume(
    run: str | Path, *, observer: Observer | None = None, **place: Any
) -> Trained:  # fmt: skip
    """Resume the training in a run's folder, with its own settings, to the same result.

    place: settings of the machine, `agecli.config.PLACE`, that have changed. Raises
    TrainingError for a folder that is not a run or is damaged, DataError for another split,
    and the errors of `train`.
    """
    opened, config = distributed.from_main(lambda: Run.open(Path(run)))
    if place:
        if fixed := place.keys() - set(PLACE):
            raise UsageError(f"{min(fixed)!r} is fixed in the run: resume takes {', '.join(PLACE)}")
        config = configure(config, **place)
    check_tracker(config.log_to)
    try:
        dataset = open_for(config)
    except DataError as error:
        raise DataError(f"{error}; if the data set has moved, pass its folder as --data") from error
    if place:
        distributed.from_main(lambda: opened.check_data(dataset))
        if distributed.is_main():
            opened.configure(config)
    return _fill(opened, config, observer or Observer())


def settle(
    config: TrainConfig, announce: Callable[[str], None] = lambda text: None, *, dry: bool = False
) -> TrainConfig:
    """Resolve settings that depend on files, and download what the trainer needs.

    announce: receives notices of downloads. dry: skip the initial weights. Raises UsageError
    and WeightsError for unusable initial weights.
    """
    check_tracker(config.log_to)
    settled = _trainer(config).settle
    return distributed.broadcast(
        distributed.main_first(lambda: settled(config, announce=announce, dry=dry))
    )


def fit(config: TrainConfig, run: Run, observer: Observer, *, score: bool = True) -> Metadata:
    """Train in a run's folder from its last epoch; return the metadata of its best weights.

    score: evaluate on the test split at the end. Raises the errors of `train`.
    """
    return _trainer(config).train(config, run, observer, score=score)


def _fill(run: Run, config: TrainConfig, observer: Observer) -> Trained:
    observer.opened(run.folder)
    try:
        metadata = fit(config, run, observer)
    except DiskError as error:
        way_on = pasteable("agecli", "train", config.model, "--resume", run.folder)
        raise DiskError(f"{error}, then continue with `{way_on}`") from error
    return Trained(run.folder, config, metadata)


def _trainer(config: TrainConfig) -> Any:
    """Return the module that trains a model, with `settle` and `train`."""
    return import_module(MODELS[config.model].trainer)
