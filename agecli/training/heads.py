"""Many heads at once on the same features: a sweep over learning rates and weight decays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli.ages import Answers, IntArray
from agecli.config import Dinov2Config
from agecli.data.mixture import Order
from agecli.memory import memory_in_use
from agecli.models.dinov2 import Head
from agecli.reading import convert
from agecli.training.records import Epoch, Step, Validation, is_over
from agecli.training.results import Results
from agecli.training.session import Session, hash_seed
from agecli.training.states import check_form, check_optimizer, check_steps, restoring
from agecli.weights import read_tensors

RATES = (0.3, 1.0, 3.0, 10.0)
"""Learning rates of the sweep, as factors of --lr."""
DECAYS = (1.0, 10.0)
"""Weight decays of the sweep, as factors of --weight-decay."""
BATCH = 256
"""Images per step: rows of features, independent of --batch-size."""


@dataclass(frozen=True)
class Features:
    """Cached features of a split: a tensor (N, F) per view, and the rows of the store."""

    views: list[Tensor]
    rows: IntArray


@dataclass
class Setting:
    """Learning rate and weight decay of a head, and its best validation score."""

    lr: float
    weight_decay: float
    best: Validation | None = None

    def to_plain(self) -> dict[str, float]:
        """Return the values stored in a run's state and in the weights file."""
        rates = {"lr": self.lr, "weight_decay": self.weight_decay}
        return rates | (self.best.to_plain() if self.best else {})

    @classmethod
    def from_plain(cls, values: dict[str, float]) -> Setting:
        """Return the setting that `to_plain` wrote."""
        best = Validation.from_plain(values) if "val_loss" in values else None
        return convert({"best": best} | {k: values[k] for k in ("lr", "weight_decay")}, cls)


class Sweep:
    """Trains heads side by side on features, like DINOv2's own linear evaluation.

    Each has its own rate and decay; all see the same batches, each read once.
    """

    def __init__(
        self, session: Session, config: Dinov2Config, outputs: int, train: Features, val: Features
    ) -> None:
        self.session, self.config, self.train, self.val = session, config, train, val
        torch.manual_seed(hash_seed(config.seed))
        width, dtype = train.views[0].shape[1], train.views[0].dtype
        self.settings = [
            Setting(config.lr * rate, config.weight_decay * decay)
            for rate, decay in product(RATES, DECAYS)
        ]
        heads = [Head(width, outputs, config.dropout, config.hidden) for _ in self.settings]
        self.heads: Any = nn.ModuleList(heads).to(session.device, dtype)
        mean, scale = standardisation(train.views[0])
        for head in heads:
            head.standardise(mean, scale)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(head.parameters()), "lr": setting.lr,
                 "weight_decay": setting.weight_decay}
                for head, setting in zip(self.heads, self.settings, strict=True)
            ],
            fused=True,
        )  # fmt: skip
        sources = session.dataset.sources[train.rows]
        self.order = Order(np.arange(len(sources)), sources, config.source_shares())
        self.steps = max(1, len(train.rows) // BATCH)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [setting.lr for setting in self.settings],
            total_steps=config.epochs * self.steps + 1, cycle_momentum=False,
        )  # fmt: skip

    def fit(self, results: Results) -> list[dict[str, float]]:
        """Train all heads, save the best one in the run, and return each setting's best scores."""
        config = self.config
        results.history = self._resume()
        results.start(self.heads[0], config.epochs, f", heads on {len(self.train.views)} views")
        while not is_over(results.history, config.epochs, config.patience):
            step = self._train_epoch(len(results.history) + 1)
            scores = [self.validate(head) for head in self.heads]
            for setting, score in zip(self.settings, scores, strict=True):
                if setting.best is None or score.loss < setting.best.loss:
                    setting.best = score
            winner = min(range(len(scores)), key=lambda index: scores[index].loss)
            weights = {f"head.{name}": t for name, t in self.heads[winner].state_dict().items()}
            state = {
                "sweep": [setting.to_plain() for setting in self.settings],
                "heads": self.heads.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
            }
            setting = self.settings[winner]
            rates = {"lr": setting.lr, "weight_decay": setting.weight_decay}
            results.add(step, scores[winner], weights, state, **rates)
        return [setting.to_plain() for setting in self.settings]

    def loss(self, rows: IntArray, view: IntArray) -> Tensor:
        """Return the sum of the heads' losses for rows (B,), each taken from its view."""
        x = torch.empty((len(rows), self.train.views[0].shape[1]), dtype=self.heads[0].mean.dtype)
        for number, features in enumerate(self.train.views):
            chosen = np.flatnonzero(view == number)
            x[chosen] = features[torch.from_numpy(rows[chosen])]
        x = x.to(self.session.device)  # (B, F)
        images = self.train.rows[rows]
        ages = torch.from_numpy(self.session.dataset.ages[images]).repeat(len(self.heads), 1)
        soft = self.session.soft_labels(x, images)
        soft = None if soft is None else soft.repeat(len(self.heads), 1)
        logits = torch.cat([head(x) for head in self.heads])  # (heads · B, outputs)
        # All see the same images, so the mean over all is the mean of their losses.
        return len(self.heads) * self.session.objective(logits, ages, soft)

    @torch.inference_mode()
    def answers(self) -> tuple[Answers, IntArray]:
        """Return the best head's predictions for the N validation images, and their ages (N, 2)."""
        head = self.heads[0]
        kept = read_tensors(self.session.run.best)
        with restoring(self.session.run.best):
            head.load_state_dict({name.removeprefix("head."): t for name, t in kept.items()})
        head.eval()
        answers = self.session.answers(self._logits(head))
        return answers, self.session.dataset.ages[self.val.rows]

    @torch.inference_mode()
    def validate(self, head: Head) -> Validation:
        """Score a head on the validation features."""
        head.eval()
        self.session.objective.eval()
        return self.session.validate(self._logits(head), self.val.rows)

    def _logits(self, head: Head) -> Tensor:
        parts = self.val.views[0].split(4096)
        return torch.cat([head(part.to(self.session.device)).float().cpu() for part in parts])

    def _train_epoch(self, number: int) -> Step:
        """Train for an epoch, counted from 1; return its last step, with the epoch's mean loss."""
        seed = hash_seed(self.config.seed, number - 1)
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        order = self.order.draw(random)
        views = random.integers(len(self.train.views), size=len(self.train.rows))
        self.heads.train()
        self.session.objective.train()
        began, total = time.monotonic(), 0.0
        for step in range(self.steps):
            rows = np.sort(order[step * BATCH : (step + 1) * BATCH])
            loss = self.loss(rows, views[rows])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            total += loss.item() / len(self.heads)
        last = Step(
            epoch=number, step=self.steps, steps=self.steps, loss=total / self.steps,
            lr=self.optimizer.param_groups[0]["lr"],
            images_per_second=self.steps * BATCH / (time.monotonic() - began),
            memory=memory_in_use(self.session.device),
        )  # fmt: skip
        self.session.observer.stepped(last)
        return last

    def _resume(self) -> list[Epoch]:
        state = self.session.run.load()
        if state is None:
            return []
        with restoring(self.session.run.state):
            check_form(state["heads"], self.heads.state_dict(), "heads")
            check_form(state["schedule"], self.schedule.state_dict(), "schedule")
            check_optimizer(state["optimizer"], self.optimizer)
            left = self.config.epochs - len(state["history"])
            check_steps(state["schedule"], left * self.steps)
            settings = [Setting.from_plain(values) for values in state["sweep"]]
            if len(settings) != len(self.settings):
                raise ValueError("sweep has a different length")
            self.heads.load_state_dict(state["heads"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.settings = settings
        return state["history"]


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / standard deviation (F,) of features (N, F), in double precision.

    A constant feature gets the median scale of the others, so that it stays small.
    """
    parts = features.split(4096)
    mean = sum((part.double().sum(dim=0) for part in parts), torch.zeros(())) / len(features)
    square = sum(((part.double() - mean).square().sum(dim=0) for part in parts), torch.zeros(()))
    deviation = (square / len(features)).sqrt()
    return mean, 1 / deviation.clamp(min=deviation.median().clamp(min=1e-6) * 1e-2)
