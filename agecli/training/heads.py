"""Many heads at once on the same features: a sweep over learning rates and weight decays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agecli.ages import Answers, IntArray, Scheme, softmax
from agecli.config import Dinov2Config
from agecli.data.store import Dataset
from agecli.memory import memory_in_use
from agecli.models.dinov2 import Head
from agecli.training.loop import (
    append_record,
    check_loss,
    hash_seed,
    is_over,
    validation_record,
)
from agecli.training.objectives import Objective
from agecli.training.observer import Observer
from agecli.training.results import Results
from agecli.training.runs import Run

RATES = (0.3, 1.0, 3.0, 10.0)
"""Learning rates of the sweep, as factors of --lr."""
DECAYS = (1.0, 10.0)
"""Weight decays of the sweep, as factors of --weight-decay."""
BATCH = 256
"""Images per step: rows of features, so it has nothing to do with --batch-size."""


@dataclass(frozen=True)
class Features:
    """Cached features of a split: a tensor (N, F) per view, and the rows they belong to."""

    views: list[Tensor]
    rows: IntArray


class Sweep:
    """Trains heads side by side on features, as DINOv2's own linear evaluation does.

    Each has its own rate and decay; all see the same batches, so that a batch is read once.
    """

    def __init__(
        self, config: Dinov2Config, scheme: Scheme, dataset: Dataset, objective: Objective,
        outputs: int, train: Features, val: Features, device: torch.device,
    ) -> None:  # fmt: skip
        self.config, self.scheme, self.dataset, self.objective = config, scheme, dataset, objective
        self.train, self.val, self.device = train, val, device
        torch.manual_seed(hash_seed(config.seed))
        width, dtype = train.views[0].shape[1], train.views[0].dtype
        self.settings = [
            {"lr": config.lr * rate, "weight_decay": config.weight_decay * decay}
            for rate, decay in product(RATES, DECAYS)
        ]
        heads = [Head(width, outputs, config.dropout, config.hidden) for _ in self.settings]
        self.heads: Any = nn.ModuleList(heads).to(device, dtype)
        mean, scale = standardisation(train.views[0])
        for head in heads:
            head.standardise(mean, scale)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(head.parameters()), **setting}
                for head, setting in zip(self.heads, self.settings, strict=True)
            ],
            fused=True,
        )
        self.steps = max(1, len(train.rows) // BATCH)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [setting["lr"] for setting in self.settings],
            total_steps=config.epochs * self.steps + 1, cycle_momentum=False,
        )  # fmt: skip

    def fit(
        self, run: Run, results: Results, observer: Observer
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Train all heads; return the history of the best one so far, and each setting's best."""
        history, best = self._resume(run)
        observer.started(
            results.facts(
                sum(p.numel() for p in self.heads[0].parameters()), len(self.val.rows),
                self.config.epochs,
            ) | {"done": len(history)}
        )  # fmt: skip
        while not is_over(history, self.config.epochs, self.config.patience):
            started = time.monotonic()
            record = self._train_epoch(len(history), observer)
            scores = [self.validate(head) for head in self.heads]
            for setting, score in zip(best, scores, strict=True):
                if score["val_loss"] < setting.get("val_loss", np.inf):
                    setting |= score
            winner = min(range(len(scores)), key=lambda index: scores[index]["val_loss"])
            record |= self.settings[winner] | scores[winner]
            check_loss(record["val_loss"], len(history), self.config)
            record["seconds"] = time.monotonic() - started
            append_record(history, record)
            if record["best"]:
                state = self.heads[winner].state_dict()
                results.save_best({f"head.{name}": t for name, t in state.items()}, record)
            run.save(
                {
                    "history": history,
                    "sweep": best,
                    "heads": self.heads.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "schedule": self.schedule.state_dict(),
                }
            )
            observer.finished_epoch(record)
        return history, best

    def loss(self, rows: IntArray, view: IntArray) -> Tensor:
        """Return the sum of the heads' losses for rows (B,) of the features, each in its view."""
        x = torch.empty((len(rows), self.train.views[0].shape[1]), dtype=self.heads[0].mean.dtype)
        for number, features in enumerate(self.train.views):
            chosen = np.flatnonzero(view == number)
            x[chosen] = features[torch.from_numpy(rows[chosen])]
        x = x.to(self.device)  # (B, F)
        ages = torch.from_numpy(self.dataset.ages[self.train.rows[rows]]).to(self.device)
        logits = torch.cat([head(x) for head in self.heads])  # (heads · B, outputs)
        # All have the same images, so the mean over all is the mean of their losses.
        return len(self.heads) * self.objective(logits, ages.repeat(len(self.heads)))

    @torch.inference_mode()
    def answers(self, run: Run) -> tuple[Answers, IntArray]:
        """Return what the run's best head answers on the validation features, and their ages."""
        from safetensors.torch import load_file

        head = self.heads[0]
        state = {name.removeprefix("head."): t for name, t in load_file(run.best).items()}
        head.load_state_dict(state)
        head.eval()
        chances = softmax(self._logits(head).numpy())
        answers = Answers(chances, self.scheme, self.objective.knows_years)
        return answers, self.dataset.ages[self.val.rows]

    @torch.inference_mode()
    def validate(self, head: Head) -> dict[str, Any]:
        """Score a head on the validation features."""
        head.eval()
        self.objective.eval()
        logits = self._logits(head)
        return validation_record(logits, self.val.rows, self.objective, self.dataset, self.scheme)

    def _logits(self, head: Head) -> Tensor:
        parts = self.val.views[0].split(4096)
        return torch.cat([head(part.to(self.device)).float().cpu() for part in parts])

    def _train_epoch(self, epoch: int, observer: Observer) -> dict[str, Any]:
        seed = hash_seed(self.config.seed, epoch)
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        order = random.permutation(len(self.train.rows))
        views = random.integers(len(self.train.views), size=len(order))
        self.heads.train()
        self.objective.train()
        began, total = time.monotonic(), 0.0
        for step in range(self.steps):
            rows = np.sort(order[step * BATCH : (step + 1) * BATCH])
            loss = self.loss(rows, views[rows])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            total += loss.item() / len(self.heads)
        figures = {
            "epoch": epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_second": self.steps * BATCH / (time.monotonic() - began),
        }
        check_loss(total / self.steps, epoch, self.config)
        progress = {"step": self.steps, "steps": self.steps, "loss": total / self.steps}
        observer.stepped(figures | progress | {"memory": memory_in_use(self.device)})
        return figures | {"train_loss": total / self.steps}

    def _resume(self, run: Run) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        state = run.load()
        if state is None:
            return [], [dict(setting) for setting in self.settings]
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return state["history"], state["sweep"]


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / standard deviation (F,) of features (N, F), in double precision.

    A feature that is constant gets the scale of the others' middle, so that it stays small.
    """
    parts = features.split(4096)
    mean = sum((part.double().sum(dim=0) for part in parts), torch.zeros(())) / len(features)
    square = sum(((part.double() - mean).square().sum(dim=0) for part in parts), torch.zeros(()))
    deviation = (square / len(features)).sqrt()
    return mean, 1 / deviation.clamp(min=deviation.median().clamp(min=1e-6) * 1e-2)
