"""The training loop: epochs of steps, validation, schedule, best weights, early stopping."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.config import TrainConfig
from agecli.data.batches import Batches, to_augmented_input, to_input
from agecli.memory import memory_in_use
from agecli.training.records import Step, Validation, is_over
from agecli.training.results import Results
from agecli.training.runs import State, check_world
from agecli.training.session import Session, hash_seed
from agecli.training.states import check_form, check_optimizer, check_steps, restoring

if TYPE_CHECKING:
    from accelerate import Accelerator

REPORT_SECONDS = 0.25


@dataclass
class Trainer:
    """The training loop and all it needs; `agecli.training.pytorch` assembles it."""

    session: Session
    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    schedule: Schedule
    batches: Batches
    """The training images."""
    results: Results

    def fit(self) -> None:
        """Train until the last epoch, or until --patience is exhausted."""
        config, results = self.session.config, self.results
        bare = self.accelerator.unwrap_model(self.model)
        average = MovingAverage(bare, config.ema) if config.averages else None
        self._resume(bare, average)
        seen = average.model if average else bare
        results.start(bare, config.epochs)
        while not is_over(results.history, config.epochs, config.patience):
            step = self._train_epoch(len(results.history) + 1, average)
            val = self._validate(seen)
            self.schedule.after_epoch(val.loss)
            results.add(step, val, seen.state_dict(), self._state(bare, average))

    def _train_epoch(self, number: int, average: MovingAverage | None) -> Step:
        """Train for an epoch, counted from 1; return its last step, with the epoch's mean loss."""
        session, config, accelerator = self.session, self.session.config, self.accelerator
        device = accelerator.device
        # Each epoch is seeded by the seed and its number, so that resuming repeats it exactly.
        torch.manual_seed(hash_seed(config.seed, number - 1, accelerator.process_index))
        generator = np.random.default_rng(torch.initial_seed())
        self.model.train()
        session.objective.train()
        total, images_done = torch.zeros((), device=device), 0
        began = reported = time.monotonic()

        def done(step: int, loss: float, now: float) -> Step:
            return Step(
                epoch=number, step=step, steps=len(self.batches), loss=loss,
                lr=self.optimizer.param_groups[0]["lr"],
                images_per_second=images_done / (now - began),
                memory=memory_in_use(device),
            )  # fmt: skip

        for step, (images, rows) in enumerate(self.batches.epoch(number - 1), 1):
            ages = torch.from_numpy(session.dataset.ages[rows]).to(device, non_blocking=True)
            batch = to_augmented_input(
                images.to(device, non_blocking=True), config.image_size, config.mean, config.std,
                config.augment, generator,
            )  # (B, 3, S, S)  # fmt: skip
            total += self._step(batch, ages, session.soft_labels(batch, rows), average)
            images_done += len(rows) * accelerator.num_processes
            now = time.monotonic()
            if now - reported > REPORT_SECONDS or step == len(self.batches):
                reported = now
                session.observer.stepped(done(step, total.item() / step, now))
        mean = distributed.mean(total.item() / len(self.batches))
        return done(len(self.batches), mean, time.monotonic())

    def _step(
        self, batch: Tensor, ages: Tensor, soft: Tensor | None, average: MovingAverage | None
    ) -> Tensor:
        """Train on a batch (B, 3, S, S) with its ages (B, 2) and soft labels; return its loss."""
        with self.accelerator.accumulate(self.model):
            loss = self.session.objective.training_loss(self.model, batch, ages, soft)
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.schedule.after_step()
            if average:
                average.update(self.accelerator.unwrap_model(self.model))
        return loss.detach()

    @torch.inference_mode()
    def _validate(self, model: nn.Module) -> Validation:
        config, device = self.session.config, self.accelerator.device
        model.eval()
        self.session.objective.eval()
        answers = []
        for images, rows in self.session.batches("val").epoch():
            images = images.to(device, non_blocking=True)
            batch = to_input(images, config.image_size, config.mean, config.std)
            with self.accelerator.autocast():
                answers.append((model(batch).float(), rows))
        return self.session.validate_all([(logits.cpu(), rows) for logits, rows in answers])

    def _state(self, bare: nn.Module, average: MovingAverage | None) -> State:
        scaler = self.accelerator.scaler
        return {
            "model": bare.state_dict(),
            "average": average.state_dict() if average else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def _resume(self, bare: nn.Module, average: MovingAverage | None) -> None:
        state = distributed.from_main(self.session.run.load)
        if state is None:
            return
        check_world(state)
        with restoring(self.session.run.state):
            like = self._state(bare, average)
            for name in ("model", "average", "schedule"):
                check_form(state[name], like[name], name)
            check_optimizer(state["optimizer"], self.optimizer)
            config = self.session.config
            steps = len(self.batches) // config.accumulate
            check_steps(state["schedule"], (config.epochs - len(state["history"])) * steps)
            bare.load_state_dict(state["model"])
            if average:
                average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            if self.accelerator.scaler and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        self.results.history = state["history"]


class MovingAverage:
    """The exponential moving average of a model's weights; buffers are copied.

    The decay grows to its full value over the first steps, as (1 + n) / (10 + n), so that the
    random initial weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the model's weights after an optimiser step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        if buffers := list(self.model.buffers()):
            torch._foreach_copy_(buffers, list(model.buffers()))

    def state_dict(self) -> State:
        """Return the averaged weights and the number of steps."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        """Restore a state that `state_dict` returned."""
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
        """Advance by an optimiser step."""
        if self.by_step:
            self.inner.step()

    def after_epoch(self, val_loss: float) -> None:
        """Advance by an epoch, given its validation loss."""
        if not self.by_step:
            self.inner.step(val_loss)

    def state_dict(self) -> State:
        """Return the inner scheduler's state."""
        return self.inner.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Restore a state that `state_dict` returned."""
        self.inner.load_state_dict(state)
