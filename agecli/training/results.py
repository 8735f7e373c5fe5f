"""Results of a training: the weights file of its best epoch, and its figures on the test split."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.ages import Answers, IntArray
from agecli.config import DETECTOR, FACE_MARGIN, PLACE, TrainConfig
from agecli.data.seen import VERSION, Prints
from agecli.data.store import Dataset
from agecli.errors import DataError, TrainingError, brief
from agecli.metadata import Origin
from agecli.training.build import architecture_of
from agecli.training.initial import fingerprints_of_run
from agecli.training.records import Epoch, Started, Step, Validation, is_best
from agecli.training.runs import State
from agecli.training.session import Session
from agecli.training.trackers import Tracker
from agecli.weights import FINGERPRINTS, Metadata, read_metadata, save_weights

PATHS = ("init", "teacher", "soft_labels")
"""Settings that are files; the weights file records only their names."""

Answered = tuple[Answers, IntArray]
"""Predictions for N images at temperature 1, and the images' ages (N, 2)."""


@dataclass
class Results:
    """Saves a run's epochs, its state and the weights file of the best epoch, for every trainer."""

    session: Session
    init: str = "random"
    """Origin of the initial weights, in words."""
    backbone: Origin | None = None
    """Id and revision of the backbone, which is not in the weights file."""
    before: dict[str, Any] | None = None
    """How the initial weights were trained, from their own metadata."""
    history: list[Epoch] = field(default_factory=list)
    fingerprints: Prints | None = None
    """Fingerprints of all images that the weights have ever seen; None if unknown."""

    def __post_init__(self) -> None:
        session = self.session
        self.tracker = Tracker(session.config, session.run, session.observer.warned)

    def start(self, model: nn.Module, epochs: int, how: str = "") -> None:
        """Log and report the training that is about to start, for so many epochs; start the clock.

        how: more words for the log.
        """
        session = self.session
        images = {split: len(rows) for split, rows in session.rows.items()}
        if distributed.is_main():
            session.run.log(f"training on {session.place}, {images['train']} images{how}")
            # The temperature will be fitted on all validation images, whatever --limit is.
            rows = np.concatenate([session.rows["train"], session.dataset.rows("val")])
            if session.soft:
                rows = np.concatenate([rows, session.soft.seen])
            self.fingerprints = fingerprints_of_run(
                session.config, session.run, session.dataset, rows
            )
        session.observer.started(
            Started(
                model=session.config.title,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                train_images=images["train"], val_images=images["val"], device=session.place,
                epochs=epochs, done=len(self.history), run=str(session.run.folder),
            )
        )  # fmt: skip
        if distributed.is_main():
            self.tracker.start(resumed=bool(self.history))
        self.clock = time.monotonic()

    def add(
        self, step: Step, val: Validation, weights: dict[str, Tensor], state: State, **more: Any
    ) -> Epoch:
        """Save an epoch in the run and report it; write the weights file if it is the best.

        step: its last step. weights: those validated, by name, of any shape. state: all that is
        needed to continue. more: further fields of the epoch. Raises TrainingError for a loss
        that is not finite.
        """
        for loss in (step.loss, val.loss):
            check_loss(loss, step.epoch, self.session.config)
        before, self.clock = self.clock, time.monotonic()
        figures = {"lr": step.lr, "images_per_second": step.images_per_second} | more
        epoch = Epoch(
            epoch=step.epoch, train_loss=step.loss, seconds=self.clock - before,
            best=is_best(self.history, val.loss), val=val, **figures,
        )  # fmt: skip
        self.history.append(epoch)
        run = self.session.run
        if distributed.is_main():
            if epoch.best:
                save_weights(run.best, weights | self._seen(), self._metadata(epoch))
            run.save(self.history, **state)
            self.tracker.add(epoch)
        self.session.observer.finished_epoch(epoch)
        return epoch

    def finish(
        self, *, score: bool = True, validation: Answered | None = None, **facts: Any
    ) -> Metadata:
        """Calibrate the best weights and score them on the test split in full precision.

        Calibration and figures are written into the file. score: whether this is the
        process that scores and writes, and neither an earlier stage nor a trial of a search.
        validation: the weights' predictions there, if known without running the
        model. facts: more fields of the file's `training`.
        """
        run, config = self.session.run, self.session.config
        best = next(epoch for epoch in reversed(self.history) if epoch.best)
        final = self._metadata(best)
        facts = {"epochs": len(self.history)} | facts  # no times: equal runs, equal files
        final = replace(final, training=final.training | facts)
        if score:
            # Prediction runs in fp32: under a budget it gets half the batch of training.
            size = config.batch_size // 2 if config.vram_budget else TrainConfig.batch_size
            final = score_weights(
                run.best, self.session.dataset, final, device=self.session.device.type,
                batch_size=max(1, size), validation=validation,
            )  # fmt: skip
            figures = {name: value for name, value in final.metrics.items() if name != "slices"}
            run.log(f"done after {len(self.history)} epochs, best {best.epoch}: {figures}")
        self.tracker.finish(final.metrics, len(self.history))
        return final

    def _seen(self) -> dict[str, Tensor]:
        """Return the weights file's tensor of fingerprints, if known."""
        prints = self.fingerprints
        return {} if prints is None else {FINGERPRINTS: torch.from_numpy(prints)}

    def _metadata(self, epoch: Epoch) -> Metadata:
        config, dataset = self.session.config, self.session.dataset
        return Metadata(
            model=config.model,
            title=config.title,
            architecture=architecture_of(config, dataset.scheme),
            objective=config.objective,
            scheme=dataset.scheme.labels,
            image_size=config.image_size,
            mean=list(config.mean),
            std=list(config.std),
            crop={"detector": DETECTOR, "margin": FACE_MARGIN},
            split_hash=dataset.split_hash,
            fingerprints=0 if self.fingerprints is None else VERSION,
            backbone=self.backbone,
            licence=brief(
                f"research use only: trained on {' and '.join(dataset.receipt.sources) or 'faces'}"
            ),
            training={
                "data": dataset.receipt.sources,
                "train_images": len(self.session.rows["train"]),
                "init": self.init,
                **({"before": self.before} if self.before else {}),
                "best_epoch": epoch.epoch,
                "device": self.session.place,
                "validation": epoch.val.to_plain(),
                "config": _public(config),
            },
        )


def check_loss(loss: float, epoch: int, config: TrainConfig) -> None:
    """Raise TrainingError for the loss of an epoch, counted from 1, that is not finite."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in epoch {epoch}: lower --lr"
            + (" or leave out --amp" if config.amp else "")
        )


def score_weights(
    path: Path, dataset: Dataset, metadata: Metadata | None = None, *, device: Any = "cpu",
    batch_size: int = TrainConfig.batch_size, validation: Answered | None = None,
) -> Metadata:  # fmt: skip
    """Calibrate a weights file on validation and score it on the test split.

    Temperature, decision rule, age sets and figures are written into the file, beside the rest
    of the metadata: the file's own by default. validation: the weights' predictions there, if
    known. Returns the file's new metadata.
    """
    from safetensors.torch import load_file

    from agecli.evaluation.calibration import calibrate
    from agecli.evaluation.perturbations import CALIBRATION_VIEWS
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import load_model

    final = metadata or read_metadata(path)
    model = load_model(path, device)
    evaluate = partial(evaluate_model, model, dataset, batch_size=batch_size)
    with suppress(DataError):  # a small data set may have no such image
        model.metadata = replace(model.metadata, temperature=1.0)
        if validation is None:
            answered = evaluate("val")
            validation = model.interpret(answered.distribution), answered.ages
        changed = [evaluate("val", change=view).distribution for view in CALIBRATION_VIEWS]
        *smaller, perturbed = map(model.interpret, changed)
        final = calibrate(final, validation[0], smaller, perturbed, validation[1])
        model.metadata = replace(
            model.metadata, temperature=final.temperature, decision=final.decision,
            sets=final.sets,
        )  # fmt: skip
    with suppress(DataError):
        answered = evaluate("test")
        final = replace(final, metrics=answered.metrics())
    save_weights(path, load_file(path), final, half=False)
    return final


def _public(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration's settings without those of the machine and without paths."""
    names = {k: v for k, v in vars(config).items() if k not in PLACE}
    if Path(names.get("backbone", "")).is_absolute():
        names["backbone"] = Path(names["backbone"]).name
    return names | {k: Path(names[k]).name for k in PATHS if names.get(k)}
