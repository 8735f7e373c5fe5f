"""Train a PyTorch model: open the data, build, fit, test; used by `train cnn`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import torch
from torch import nn

from agecli import distributed
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import UsageError
from agecli.models.capsnet import CapsNet
from agecli.models.dlib import ENOUGH, set_statistics
from agecli.models.hub import read_state
from agecli.training.build import build_model, build_optimizer
from agecli.training.devices import make_accelerator
from agecli.training.initial import (
    check_split,
    only_weights,
    starts_from_dlib,
    training_of,
)
from agecli.training.loop import Schedule, Trainer
from agecli.training.memory_plan.budget import within_memory
from agecli.training.observer import Observer
from agecli.training.results import Results
from agecli.training.runs import Run
from agecli.training.session import Session, hash_seed
from agecli.training.soft import settle_soft
from agecli.training.synced import share_statistics
from agecli.weights import Metadata, load_weights

Start = Callable[[nn.Module, Session], object]
"""Loads a training's initial weights into a new model."""

Config = TypeVar("Config", bound=TrainConfig)

Initial = CnnConfig | CapsNetConfig | Dinov2Config
"""Settings of models that can start from weights of their own kind."""


def settle(config: Config, *, announce: Callable[[str], None], dry: bool) -> Config:
    """Check a training's initial weights and teacher, and fill in their hash; dry: do neither."""
    if dry:
        return config
    config = settle_soft(config, announce)
    if _has_initial(config):
        scheme = open_dataset(Path(config.data)).scheme
        _load_initial(config, build_model(config, scheme))
    return config


def train(
    config: TrainConfig,
    run: Run,
    observer: Observer | None = None,
    *,
    score: bool = True,
    start: Start = lambda model, session: None,
    init: str = "random",
) -> Metadata:
    """Train a model, or continue its run, and return the metadata of its best weights.

    The weights file, RUN/best.safetensors, gets the test split's figures, read once, at the end;
    score: whether to read it. start: loads the initial weights if there is no --init,
    in a way that init describes.
    Out of memory under a --vram-budget, the run continues from its last epoch with half the
    micro-batch. Raises DataError for a data set that cannot be used, TrainingError for a loss that
    diverges or too little memory.
    """
    begin = partial(fit, score=score, start=start, init=init)
    if _has_initial(config):
        begin = partial(
            begin, start=partial(_start, config), init=Path(config.init).name,
            before=training_of(config.init, run),
        )  # fmt: skip
    return within_memory(begin, config, run, observer or Observer())


def fit(
    config: TrainConfig,
    run: Run,
    observer: Observer,
    *,
    start: Start = lambda model, session: None,
    init: str = "random",
    before: dict[str, Any] | None = None,
    score: bool = True,
) -> Metadata:
    """Train once, without the retries.

    start: loads the initial weights, which init names and `before` describes the training of.
    """
    session = Session.open(config, run, observer)
    accelerator = make_accelerator(config)
    torch.manual_seed(hash_seed(config.seed))
    bare = build_model(config, session.dataset.scheme)
    share_statistics(bare, accelerator.device.type)
    if distributed.is_main() and not run.begun:
        start(bare, session)  # wrapping copies its weights to the others
    optimizer = build_optimizer(config, bare)
    session.objective.parallel = True
    batches = session.batches("train")
    schedule = Schedule(optimizer, config, len(batches) // config.accumulate)
    model, optimizer = accelerator.prepare(bare, optimizer)
    results = Results(session, init, before=before)
    Trainer(session, accelerator, model, optimizer, schedule, batches, results).fit()
    return distributed.from_main(lambda: results.finish(score=score))


def _has_initial(config: TrainConfig) -> TypeGuard[Initial]:
    return isinstance(config, Initial) and config.init != "none"


def _start(config: Initial, model: nn.Module, session: Session) -> None:
    _load_initial(config, model)
    if isinstance(model, CapsNet) and model.body and starts_from_dlib(config):
        model.to(session.device)
        set_statistics(model.body, session.sample(ENOUGH))


def _load_initial(config: Initial, model: nn.Module) -> None:
    """Load a training's initial weights into its model.

    Raises UsageError for weights of another model, or of a split that would leak into this one.
    """
    if isinstance(model, CapsNet) and model.body and starts_from_dlib(config):
        state = read_state(Path(config.init))
        model.body.load_state_dict({name: state[name] for name in model.body.state_dict()})
        return
    path = only_weights("--init", config.init)
    check_split("--init", path, config)
    start, metadata = load_weights(path)
    try:
        model.load_state_dict(start.state_dict())
    except RuntimeError as error:
        size = metadata.image_size
        other_size = metadata.model == config.model and size != config.image_size
        raise UsageError(
            f"--init: {path} is a {metadata.model} for {size} px and does not fit this "
            f"{config.model} for {config.image_size} px: "
            + (f"pass --image-size {size}" if other_size else "use the settings of its training")
        ) from error
