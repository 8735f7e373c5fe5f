"""The parts common to every training: its data, its objective, its device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agecli import distributed
from agecli.ages import Answers, IntArray, softmax
from agecli.config import TrainConfig
from agecli.data.batches import Batches, to_input
from agecli.data.mixture import Order, check_sources
from agecli.data.softlabels import SoftLabels
from agecli.data.store import Dataset, open_for
from agecli.errors import DataError
from agecli.evaluation.metrics import score
from agecli.training.devices import choose_device, describe_device
from agecli.training.objectives import Objective, make_objective
from agecli.training.observer import Observer
from agecli.training.records import Validation
from agecli.training.runs import Run
from agecli.training.soft import open_soft_labels
from agecli.training.teacher import Teacher, make_teacher

Answered = list[tuple[Tensor, IntArray]]
"""Logits (B, outputs) on the CPU, and the rows (B,) of their images, batch by batch."""


@dataclass(frozen=True)
class Session:
    """The parts that all trainers share, opened once and equal in every process."""

    config: TrainConfig
    run: Run
    observer: Observer
    dataset: Dataset
    device: torch.device
    objective: Objective
    rows: dict[str, IntArray]
    """Rows of the training and of the validation images: `train` and `val`."""
    teacher: Teacher | None = None
    soft: SoftLabels | None = None

    @classmethod
    def open(cls, config: TrainConfig, run: Run, observer: Observer) -> Session:
        """Open a training's data; choose its device and objective.

        Raises DataError for a data set that cannot be used or differs between processes.
        """
        dataset = open_for(config)
        if dataset.split_hash != distributed.broadcast(dataset.split_hash):
            raise DataError(
                f"{config.data} is another data set here than for the first process: prepare it on "
                "all machines from the same files, with the same options"
            )
        distributed.from_main(lambda: run.check_data(dataset))
        device = choose_device(config)
        check_sources(config.source_shares(), dataset.sources[dataset.rows("train")])
        ages = dataset.ages[dataset.rows("train")]
        objective = make_objective(config, dataset.scheme, ages).to(device)
        rows = {split: rows_of(dataset, split, objective, config) for split in ("train", "val")}
        teacher = make_teacher(config, dataset.scheme)
        if teacher:
            teacher.to(device)
        soft = open_soft_labels(config, dataset)
        return cls(config, run, observer, dataset, device, objective, rows, teacher, soft)

    @property
    def place(self) -> str:
        """Return the device in words."""
        return describe_device(self.config, self.device)

    def batches(self, split: str) -> Batches:
        """Return this process's share of a split's batches, shuffled in training."""
        config, training = self.config, split == "train"
        return Batches(
            self.dataset.images, self.rows[split], batch_size=config.batch_size, shuffle=training,
            seed=config.seed, accumulate=config.accumulate if training else 1,
            threads=config.workers, rank=distributed.rank(), world=distributed.world(),
            pinned=self.device.type == "cuda", draw=self.order(split).draw if training else None,
        )  # fmt: skip

    def sample(self, count: int) -> Iterator[Tensor]:
        """Yield up to `count` training images, spread evenly, in batches of input, not augmented.

        Each batch: (B, 3, S, S), on the device.
        """
        config, rows = self.config, self.rows["train"]
        rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows)), dtype=int)]
        for start in range(0, len(rows), config.batch_size):
            batch = rows[start : start + config.batch_size]
            images = torch.from_numpy(np.take(self.dataset.images, batch, axis=0)).to(self.device)
            yield to_input(images, config.image_size, config.mean, config.std)

    def order(self, split: str) -> Order:
        """Return the order in which a split's rows are drawn."""
        rows = self.rows[split]
        return Order(rows, self.dataset.sources[rows], self.config.source_shares())

    def soft_labels(self, images: Tensor, rows: IntArray) -> Tensor | None:
        """Return the soft labels of images, on the images' device.

        images: (B, 3, S, S), or features (B, F), of rows (B,). Distributions over years (B, YEARS)
        or groups (B, groups), zeros where an image has none; None if no image has one.
        """
        if self.teacher:
            return self.teacher(images)
        if self.soft is None:
            return None
        return torch.from_numpy(self.soft.of(rows)).to(images.device, non_blocking=True)

    def answers(self, logits: Tensor) -> Answers:
        """Convert logits (N, outputs) on the CPU to predictions at temperature 1."""
        chances = softmax(logits.numpy())
        return Answers(chances, self.dataset.scheme, self.objective.knows_years)

    def validate(self, logits: Tensor, rows: IntArray) -> Validation:
        """Score logits (N, outputs) on the CPU, a model's outputs for the images of rows (N,)."""
        ages = self.dataset.ages[rows]
        device = self.objective.group.device
        loss = self.objective(logits.to(device), torch.from_numpy(ages).to(device))
        answers, scheme = self.answers(logits), self.dataset.scheme
        figures = score(answers.groups, ages, scheme, answers.ages)
        shown = {name: getattr(figures, name) for name in ("exact", "one_off", "macro_f1", "mae")}
        return Validation(loss=loss.item(), **shown)

    def validate_all(self, answered: Answered) -> Validation:
        """Score the outputs of all processes together; some may have none. Equal on all.

        One scores for all: rounding might otherwise stop the processes at different epochs.
        """
        parts = [part for process in distributed.gather(answered) for part in process]
        logits, rows = torch.cat([part[0] for part in parts]), np.concatenate([p[1] for p in parts])
        return distributed.from_main(lambda: self.validate(logits, rows))


def rows_of(dataset: Dataset, split: str, objective: Objective, config: TrainConfig) -> IntArray:
    """Return the rows (N,) of a split used to train or validate. Raises DataError for none."""
    rows = dataset.rows(split)
    rows = rows[objective.uses(dataset.ages[rows])]
    if split == "train" and (shares := config.source_shares()):
        rows = rows[np.isin(dataset.sources[rows], [name for name in shares if shares[name]])]
    if config.limit:
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.limit])
    if len(rows) < (config.smallest_batch if split == "train" else 1):
        raise DataError(
            f"{dataset.folder} has {len(rows) or 'no'} {split} images to use: prepare more images"
        )
    return rows


def hash_seed(*parts: int) -> int:
    """Hash integers into one 63-bit seed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
