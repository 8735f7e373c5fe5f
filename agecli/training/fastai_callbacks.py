"""Callbacks of a fastai learner: precision, averaging, scores, progress, the run."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.config import ResNetConfig
from agecli.errors import AgecliError
from agecli.memory import memory_in_use
from agecli.models.resnet import ResNet
from agecli.training.loop import REPORT_SECONDS, MovingAverage
from agecli.training.observer import Observer
from agecli.training.records import Epoch, Step, is_over
from agecli.training.results import Results
from agecli.training.runs import State
from agecli.training.session import Session, hash_seed
from agecli.training.states import check_form, check_optimizer, restoring

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch's, about code that fastai compiles
    from fastai.callback.core import Callback, CancelFitException
    from fastai.callback.fp16 import MixedPrecision
    from fastai.distributed import DistributedTrainer
    from fastai.learner import AvgSmoothLoss
    from fastai.optimizer import OptimWrapper


class PlainRates(OptimWrapper):
    """A wrapped optimiser whose state loads safely: schedules set NumPy floats, converted here."""

    def _set_hyper(self, name: str, values: Iterable[float]) -> None:
        super()._set_hyper(name, [float(value) for value in values])


class ScaledGradients(MixedPrecision):
    """The part of `to_fp16` and `to_bf16` that is not autocast, which the network applies itself.

    fastai's autocast would stay on after an error, and supports only CUDA.
    """

    def __init__(self, device: str, precision: str) -> None:
        super().__init__(amp_mode=precision)
        self.device_type = device

    def before_fit(self) -> None:
        """Set the gradient scaler, which only fp16 needs."""
        self.autocast = nullcontext()
        needed = self.amp_mode.value == "fp16"
        self.learn.scaler = torch.amp.GradScaler(self.device_type, enabled=needed)
        self.scales: list[float] = []


class Parallel(DistributedTrainer):
    """fastai's distributed training.

    Our loaders already give each process its share, and the network has our own batch norm,
    which synchronises its statistics on the CPU, too.
    """

    def __init__(self, *, cpu: bool) -> None:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)  # one process may train twice
        super().__init__(sync_bn=False, cpu=cpu)

    def _wrap_dl(self, dl: Any) -> Any:
        return dl

    def before_validate(self) -> None:
        """Validate the bare network: the wrapper would synchronise the processes."""
        self.wrapped = self.learn.model
        self.learn.model = getattr(self.wrapped, "module", self.wrapped)

    def after_validate(self) -> None:
        """Restore the wrapper, unless an average was validated."""
        if self.learn.model is getattr(self.wrapped, "module", None):
            self.learn.model = self.wrapped


class Averaging(Callback):
    """Keeps the moving average of the weights, which is validated and saved in their place."""

    order = -20  # before fastai's TrainEvalCallback, which sets the validated model's mode

    def __init__(self, model: ResNet, average: MovingAverage) -> None:
        self.original, self.average = model, average

    def after_step(self) -> None:
        """Update the average after an optimiser step."""
        self.average.update(self.original)

    def before_validate(self) -> None:
        """Swap in the average for validation."""
        mean: Any = self.average.model
        self.trained = self.learn.model
        self.learn.model = nn.Sequential(mean.body, mean.head)

    def after_validate(self) -> None:
        """Swap the trained weights back in."""
        self.learn.model = self.trained


class Scores(Callback):
    """Scores each epoch's validation predictions, as for every model."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def before_train(self) -> None:
        """Weight the groups as --balance sets."""
        self.session.objective.train()

    def before_validate(self) -> None:
        """Score without group weights, and start collecting outputs."""
        self.session.objective.eval()
        self.answers: list[Tensor] = []

    def after_pred(self) -> None:
        """Collect a batch's outputs."""
        if not self.training:
            self.answers.append(self.pred.detach().float())

    def after_validate(self) -> None:
        """Score the collected outputs."""
        pairs = zip(self.answers, self.dls.valid.batches.plan(), strict=True)
        self.learn.scores = self.session.validate_all([(x.cpu(), rows) for x, rows in pairs])


class DeviceLoss(AvgSmoothLoss):
    """fastai's smoothed loss, left on the device: its own waits for the GPU at every step."""

    val: Tensor

    def accumulate(self, learn: Any) -> None:
        """Add a step's loss."""
        self.count += 1
        loss = learn.loss.detach().mean()
        self.val = torch.lerp(loss, self.val.to(loss), self.beta)


class Steps(Callback):
    """Reports the steps to the observer."""

    def __init__(self, observer: Observer, keeper: Keeper) -> None:
        self.observer, self.keeper = observer, keeper

    def before_train(self) -> None:
        """Start the clock."""
        self.began = self.reported = time.monotonic()
        self.total, self.images = torch.zeros(()), 0

    def after_batch(self) -> None:
        """Report a few times a second."""
        if not self.training:
            return
        self.total = self.total.to(self.loss) + self.loss.detach()  # .item() would wait for it
        self.images += len(self.yb[0]) * distributed.world()
        now = time.monotonic()
        if now - self.reported > REPORT_SECONDS or self.iter + 1 == len(self.dls.train):
            self.reported = now
            self.observer.stepped(self.step())

    def after_train(self) -> None:
        """Hand the epoch's figures to the keeper."""
        last = self.step()
        self.learn.last_step = replace(last, loss=distributed.mean(last.loss))

    def step(self) -> Step:
        """Return the last step, with the epoch's figures so far."""
        return Step(
            epoch=len(self.keeper.history) + 1,
            step=self.iter + 1,
            steps=len(self.dls.train),
            loss=float(self.total) / (self.iter + 1),
            lr=float(self.opt.hypers[-1]["lr"]),
            images_per_second=self.images / (time.monotonic() - self.began),
            memory=memory_in_use(next(self.learn.model.parameters()).device),
        )


class Keeper(Callback):
    """Seeds each epoch, saves its record, the best weights and the state, and stops early."""

    order = 80  # after all others, once the epoch is complete

    def __init__(
        self, config: ResNetConfig, model: ResNet, average: MovingAverage | None, results: Results,
        saved: State | None,
    ) -> None:  # fmt: skip
        self.config, self.original, self.average = config, model, average
        self.results, self.saved = results, saved
        results.history = saved["history"] if saved else []
        self.skip = 0
        self.failure: AgecliError | None = None

    @property
    def history(self) -> list[Epoch]:
        """Return the epochs so far."""
        return self.results.history

    def restore(self, *, phase_begun: bool) -> None:
        """Restore the saved state; the optimiser's only if its phase has begun."""
        if self.saved:
            with restoring(self.results.session.run.state):
                self._restore(self.saved, phase_begun)
        self.scaler_state = self.saved["scaler"] if self.saved and phase_begun else None
        self.saved = None

    def _restore(self, saved: State, phase_begun: bool) -> None:
        like = self._state()
        for name in ("model", "average", "lr"):
            check_form(saved[name], like[name], name)
        if not isinstance(saved["scaler"], dict | None):
            raise ValueError("scaler is missing")
        self.original.load_state_dict(saved["model"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        if phase_begun:
            check_optimizer(saved["optimizer"], self.learn.opt)
            self.learn.opt.load_state_dict(saved["optimizer"])

    def is_over(self) -> bool:
        """Return whether all epochs are done, or patience is exhausted with all layers training."""
        config, frozen = self.config, self.config.frozen_epochs
        enough = len(self.history) - frozen >= min(config.epochs, config.patience)
        return enough and is_over(self.history, frozen + config.epochs, config.patience)

    def before_fit(self) -> None:
        """Count the epochs already done in this phase."""
        phase_start = 0 if self.learn.opt.frozen_idx else self.config.frozen_epochs
        self.skip = len(self.history) - phase_start
        scaler = getattr(self.learn, "scaler", None)
        if scaler and self.scaler_state:
            scaler.load_state_dict(self.scaler_state)

    def before_epoch(self) -> None:
        """Seed the epoch by the seed and its number, so that resuming repeats it exactly."""
        self.dls.train.epoch = len(self.history)
        seed_all(self.config.seed, len(self.history), distributed.rank())

    def after_epoch(self) -> None:
        """Save the epoch; stop when validation has not improved for too long."""
        if self.epoch < self.skip:  # fastai skips what a resumed run has already done
            return
        best = self.average.model if self.average else self.original
        phase = "head" if self.learn.opt.frozen_idx else "all"
        step, val = self.learn.last_step, self.learn.scores
        try:
            self.results.add(step, val, best.state_dict(), self._state(), phase=phase)
        except AgecliError as error:
            self.failure = error  # fastai would rewrite its message
            raise CancelFitException from error
        if phase == "all" and self.is_over():
            raise CancelFitException

    def _state(self) -> State:
        scaler = getattr(self.learn, "scaler", None)
        return {
            "lr": self.config.lr,
            "model": self.original.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.learn.opt.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }


def seed_all(*parts: int) -> None:
    """Seed every source of randomness that fastai draws from."""
    seed = hash_seed(*parts)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
