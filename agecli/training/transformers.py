"""Train the dinov2: heads on a frozen backbone's features, its last blocks, or all from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agecli import distributed
from agecli.ages import IntArray
from agecli.config import Dinov2Config, Pool
from agecli.metadata import Origin
from agecli.models.dinov2 import TINY, backbone_state, describe_backbone, read_preprocessing
from agecli.models.mimetic import initialise_mimetic
from agecli.training import pytorch
from agecli.training.build import build_model
from agecli.training.features import cache_features, read_features
from agecli.training.heads import Features, Sweep
from agecli.training.memory_plan.budget import within_memory
from agecli.training.observer import Observer
from agecli.training.results import Results
from agecli.training.runs import Run
from agecli.training.session import Session
from agecli.training.soft import settle_soft
from agecli.weights import Metadata, load_weights

BOTH: Pool = "cls+mean"
"""The pooling of cached features: it contains the others, so that all runs share the cache."""


def settle(config: Dinov2Config, *, announce: Callable[[str], None], dry: bool) -> Dinov2Config:
    """Find or download the backbone, and fill in its revision and preprocessing."""
    if config.from_scratch:
        config = replace(config, image_size=config.image_size or TINY["image_size"])
        describe_backbone(config.backbone, "", config.image_size, config.drop_path)
        return pytorch.settle(config, announce=announce, dry=dry)
    name = config.backbone
    if Path(name).is_dir():
        name = str(Path(name).resolve())
    revision, side, mean, std = read_preprocessing(name, config.revision, announce)
    if not dry:
        config = settle_soft(config, announce)
    return replace(
        config, backbone=name, revision=revision, image_size=config.image_size or side,
        mean=mean, std=std,
    )  # fmt: skip


def train(
    config: Dinov2Config, run: Run, observer: Observer | None = None, *, score: bool = True
) -> Metadata:
    """Train a dinov2, or continue its run, and return the metadata of its best weights.

    If frozen, the backbone sees each image once, and heads are trained on its features, by the
    first process of a launch only. With `unfreeze`, training the last blocks starts from the best
    head (Kumar et al. 2022). Parameters and errors are those of
    `agecli.training.pytorch.train`.
    """
    observer = observer or Observer()
    if config.from_scratch:
        return pytorch.train(
            config, run, observer, score=score, start=_start_from_scratch, init="mimetic"
        )
    if not config.unfreeze:
        return within_memory(partial(_train_heads, score=score), config, run, observer)
    head_run = Run(run.folder / "head")
    marker = head_run.folder / "done"
    if not distributed.from_main(marker.exists):
        if distributed.is_main():
            head_run.folder.mkdir(exist_ok=True)
        heads = partial(_train_heads, score=False)  # the test split is read once, at the end
        within_memory(heads, replace(config, unfreeze=0), head_run, observer)
        if distributed.is_main():
            marker.touch()

    def start(model: Any, session: Session) -> None:
        model.load_state_dict(load_weights(head_run.best)[0].state_dict())

    def tune(config: Dinov2Config, run: Run, observer: Observer) -> Metadata:
        return pytorch.fit(config, run, observer, start=start, init=_origin(config), score=score)

    return within_memory(tune, config, run, observer)


def _start_from_scratch(model: Any, session: Session) -> None:
    initialise_mimetic(model.backbone)


def _train_heads(
    config: Dinov2Config, run: Run, observer: Observer, *, score: bool = True
) -> Metadata:
    session = Session.open(config, run, observer)
    seen = replace(config, pool=BOTH)
    model: Any = build_model(seen, session.dataset.scheme)
    state = model.state_dict() | backbone_state(config.backbone, config.revision)
    model.load_state_dict(state)
    files = _cache(model.to(session.device), session, seen)
    outputs = model.head.linear.out_features
    del model  # the heads need only its features
    backbone: Origin = {"id": config.backbone, "revision": config.revision}
    results = Results(session, _origin(config), backbone)

    def fit() -> Metadata:
        train, val = (_read(session, config, split, files[split]) for split in ("train", "val"))
        sweep = Sweep(session, config, outputs, train, val)
        settings = sweep.fit(results)
        answers = sweep.answers() if score else None
        return results.finish(score=score, validation=answers, sweep=settings)

    return distributed.from_main(fit)


def _every(session: Session, split: str) -> IntArray:
    """Return the rows whose features are cached: all of a split, so that runs share the cache."""
    return session.rows[split] if session.config.limit else session.dataset.rows(split)


def _cache(model: Any, session: Session, config: Dinov2Config) -> dict[str, list[Path]]:
    """Compute the features of the training and validation images, in all their views."""
    files: dict[str, list[Path]] = {"train": [], "val": []}
    for split, view in [("val", 0), *(("train", view) for view in range(config.views))]:
        what = f"{split} features" + (f", view {view + 1}" if view else "")
        tell = partial(session.observer.prepared, what)
        every = _every(session, split)
        file = cache_features(model, session.dataset, every, config, session.device, view, tell)
        files[split].append(file)
    return files


def _read(session: Session, config: Dinov2Config, split: str, files: list[Path]) -> Features:
    """Read the cached features of the images used, in all their views."""
    every, used = _every(session, split), session.rows[split]
    views = [_pooled(read_features(file), config.pool) for file in files]
    if len(used) < len(every):
        places = torch.from_numpy(np.searchsorted(every, used))
        views = [features[places] for features in views]
    return Features(views, used)


def _pooled(features: Tensor, pool: str) -> Tensor:
    """Select a head's input from features (N, 2 · D) under both poolings."""
    width = features.shape[1] // 2
    return {"cls": features[:, :width], "mean": features[:, width:], BOTH: features}[pool]


def _origin(config: Dinov2Config) -> str:
    name = Path(config.backbone).name if Path(config.backbone).is_dir() else config.backbone
    return f"{name} at {config.revision}"
