"""The training loop: epochs of steps, validation, schedule, best weights, early stopping."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.ages import Answers, Scheme, softmax
from agecli.config import TrainConfig
from agecli.data.batches import Batches, to_augmented_input, to_input
from agecli.errors import TrainingError
from agecli.evaluation.metrics import score
from agecli.memory import memory_in_use
from agecli.training.objectives import Objective
from agecli.training.observer import Observer
from agecli.training.runs import Run, check_world

if TYPE_CHECKING:
    from accelerate import Accelerator

    from agecli.data.store import Dataset

REPORT_SECONDS = 0.25


@dataclass
class Trainer:
    """All that the loop needs; `agecli.training.pytorch` puts it together."""

    config: TrainConfig
    scheme: Scheme
    dataset: Dataset
    accelerator: Accelerator
    model: nn.Module
    objective: Objective
    optimizer: Any
    schedule: Schedule
    train: Batches
    validation: Batches
    run: Run
    save_best: Callable[[nn.Module, dict[str, Any]], None]
    """Writes the weights file of a model that is the best so far."""
    observer: Observer
    facts: dict[str, Any]
    """What the observer is told at the start."""

    def fit(self) -> list[dict[str, Any]]:
        """Train until the last epoch or until --patience is at its end; return the history."""
        config = self.config
        bare = self.accelerator.unwrap_model(self.model)
        average = MovingAverage(bare, config.ema) if config.averages else None
        history = self._resume(bare, average)
        self.observer.started(self.facts | {"done": len(history)})
        started = time.monotonic() - sum(record["seconds"] for record in history)
        while not is_over(history, config.epochs, config.patience):
            epoch = len(history)
            record = self._train_epoch(epoch, average)
            record |= self._validate(average.model if average else bare)
            check_loss(record["val_loss"], epoch, config)
            self.schedule.after_epoch(record["val_loss"])
            record["seconds"] = time.monotonic() - started - sum(r["seconds"] for r in history)
            append_record(history, record)
            if self.accelerator.is_main_process:
                if record["best"]:
                    self.save_best(average.model if average else bare, record)
                self.run.save(self._state(bare, average, history))
            self.observer.finished_epoch(record)
        return history

    def _train_epoch(self, epoch: int, average: MovingAverage | None) -> dict[str, Any]:
        config, accelerator = self.config, self.accelerator
        # All randomness of an epoch follows from the seed and its number: resuming repeats it.
        torch.manual_seed(hash_seed(config.seed, epoch, accelerator.process_index))
        generator = np.random.default_rng(torch.initial_seed())
        self.model.train()
        self.objective.train()
        total, images_done = torch.zeros((), device=accelerator.device), 0
        began = reported = time.monotonic()
        for step, (images, rows) in enumerate(self.train.epoch(epoch)):
            ages = self._ages(rows)
            batch = to_augmented_input(
                images.to(accelerator.device, non_blocking=True), config.image_size, config.mean,
                config.std, config.augment, generator,
            )  # (B, 3, S, S)  # fmt: skip
            with accelerator.accumulate(self.model):
                loss = self.objective.training_loss(self.model, batch, ages)
                accelerator.backward(loss)
                self.optimizer.step()
                self.optimizer.zero_grad()
            if accelerator.sync_gradients:
                self.schedule.after_step()
                if average:
                    average.update(accelerator.unwrap_model(self.model))
            total += loss.detach()
            images_done += len(rows) * accelerator.num_processes
            now = time.monotonic()
            if now - reported > REPORT_SECONDS or step + 1 == len(self.train):
                reported = now
                self.observer.stepped(
                    {
                        "epoch": epoch + 1,
                        "step": step + 1,
                        "steps": len(self.train),
                        "loss": total.item() / (step + 1),
                        "lr": self.optimizer.param_groups[0]["lr"],
                        "images_per_second": images_done / (now - began),
                        "memory": memory_in_use(accelerator.device),
                    }
                )
        train_loss = distributed.mean(total.item() / len(self.train))
        check_loss(train_loss, epoch, config)
        return {
            "epoch": epoch + 1,
            "train_loss": train_loss,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_second": images_done / (time.monotonic() - began),
        }

    @torch.inference_mode()
    def _validate(self, model: nn.Module) -> dict[str, Any]:
        model.eval()
        self.objective.eval()
        device = self.accelerator.device
        answers = []
        for images, rows in self.validation.epoch():
            config = self.config
            images = images.to(device, non_blocking=True)
            batch = to_input(images, config.image_size, config.mean, config.std)
            with self.accelerator.autocast():
                answers.append((model(batch).float(), rows))
        answers = [(logits.cpu(), rows) for logits, rows in answers]
        return gathered_record(answers, self.objective, self.dataset, self.scheme)

    def _ages(self, rows: np.ndarray) -> Tensor:
        ages = torch.from_numpy(self.dataset.ages[rows])
        return ages.to(self.accelerator.device, non_blocking=True)

    def _state(
        self, bare: nn.Module, average: MovingAverage | None, history: list[dict[str, Any]]
    ) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "history": history,
            "world": distributed.world(),
            "model": bare.state_dict(),
            "average": average.state_dict() if average else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def _resume(self, bare: nn.Module, average: MovingAverage | None) -> list[dict[str, Any]]:
        state = distributed.from_main(self.run.load)
        if state is None:
            return []
        check_world(state)
        bare.load_state_dict(state["model"])
        if average:
            average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return state["history"]


def append_record(history: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Add an epoch to the history, and to it whether it is the best so far."""
    best = min((earlier["val_loss"] for earlier in history), default=np.inf)
    record["best"] = bool(record["val_loss"] < best)
    history.append(record)


def is_over(history: list[dict[str, Any]], epochs: int, patience: int) -> bool:
    """Return whether all epochs are done, or validation has not improved for `patience`, if any."""
    since_best = next((i for i, record in enumerate(reversed(history)) if record["best"]), 0)
    return len(history) >= epochs or since_best >= (patience or epochs)


def check_loss(loss: float, epoch: int, config: TrainConfig) -> None:
    """Raise TrainingError for an epoch's loss that is no number."""
    if not np.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in epoch {epoch + 1}: lower --lr"
            + (" or leave out --amp" if config.amp else "")
        )


def gathered_record(
    answers: list[tuple[Tensor, np.ndarray]], objective: Objective, dataset: Dataset, scheme: Scheme
) -> dict[str, Any]:
    """Score what all processes answered in batches: logits (B, outputs) and rows; the same on all.

    Some may have no batch. One scores for all: others' last bits may stop them at another epoch.
    """
    parts = [part for process in distributed.gather(answers) for part in process]
    logits, rows = torch.cat([part[0] for part in parts]), np.concatenate([p[1] for p in parts])
    return distributed.from_main(
        lambda: validation_record(logits, rows, objective, dataset, scheme)
    )


def validation_record(
    logits: Tensor, rows: np.ndarray, objective: Objective, dataset: Dataset, scheme: Scheme
) -> dict[str, Any]:
    """Score what a model answered on validation rows: logits (N, outputs) on the CPU."""
    ages = dataset.ages[rows]
    device = objective.group.device
    loss = objective(logits.to(device), torch.from_numpy(ages).to(device))
    answers = Answers(softmax(logits.numpy()), scheme, objective.knows_years)
    figures = score(answers.groups, ages, scheme, answers.ages)
    keys = ("exact", "one_off", "macro_f1", "mae")
    return {"val_loss": loss.item()} | {
        f"val_{key}": getattr(figures, key) for key in keys if getattr(figures, key) is not None
    }


class MovingAverage:
    """The exponential moving average of a model's weights; buffers are copied.

    The decay grows to its full value over the first steps, as (1 + n) / (10 + n), so that the
    random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's weights after an optimiser step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        if buffers := list(self.model.buffers()):
            torch._foreach_copy_(buffers, list(model.buffers()))

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the count of steps."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.steps = state["steps"]


class Schedule:
    """The learning rate over a training: plateau, one-cycle (Smith 2018) or cosine."""

    def __init__(self, optimizer: Any, config: TrainConfig, steps_per_epoch: int) -> None:
        from torch.optim import lr_scheduler

        steps = config.epochs * steps_per_epoch
        self.by_step = config.schedule != "plateau"
        self.inner: Any
        if config.schedule == "plateau":
            self.inner = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2)
        elif config.schedule == "onecycle":
            self.inner = lr_scheduler.OneCycleLR(
                optimizer, [group["lr"] for group in optimizer.param_groups],
                total_steps=steps + 1, cycle_momentum=False,
            )  # fmt: skip
        else:
            self.inner = lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def after_step(self) -> None:
        """Move on by an optimiser step."""
        if self.by_step:
            self.inner.step()

    def after_epoch(self, val_loss: float) -> None:
        """Move on by an epoch, given its validation loss."""
        if not self.by_step:
            self.inner.step(val_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the inner scheduler's state."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.inner.load_state_dict(state)


def hash_seed(*parts: int) -> int:
    """Mix whole numbers into one 63-bit seed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
