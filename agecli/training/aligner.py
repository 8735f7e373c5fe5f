"""Train the aligner: chips are aligned, so chips disturbed on purpose teach it to undo that."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from agecli.config import AlignerConfig
from agecli.data.batches import Batches, resize
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError, TrainingError
from agecli.inference.align import Network
from agecli.inference.pytorch import find_device
from agecli.models.aligner import SIDE, STRIDES, Aligner
from agecli.models.blocks import to_channels_last
from agecli.training import disturb
from agecli.training.alignment import area_under_curve, errors, measure
from agecli.training.disturb import Draw
from agecli.training.engine import REPORT_SECONDS, MovingAverage, Schedule, append_record, hash_seed
from agecli.training.memory import keep_freed_memory, memory_in_use
from agecli.training.nonfaces import draw_pictures
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.setup import describe_device
from agecli.weights import AlignerMetadata, save_weights

CHIP = 80
"""Side in pixels of the chips that are disturbed: about what SIDE shows of the most enlarged."""
DRAWN, DRAWN_SIDE = 4000, 96
"""How many pictures of no face are drawn at most, and their side in pixels."""
NO_FACES = 3
"""Faces per picture of no face."""
BETA = 0.05
"""Below this an error counts by its square, above by its size: chips are not aligned perfectly."""
CONFIDENCE = 0.2
"""Weight of the confidence in the loss."""


@dataclass
class Lessons:
    """Makes batches of disturbed faces and pictures of no face."""

    drawn: Tensor
    """uint8 (M, 96, 96, 3)"""

    def batch(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Give pictures (B + N, 3, 64, 64) and the poses (B, 4) of the faces, which come first."""
        order = torch.randperm(len(images), generator=draw.generator, device=images.device)
        chips = resize(images, CHIP)[order].contiguous()  # (B, 3, 80, 80)
        poses = disturb.draw_poses(len(chips), draw)
        faces = disturb.place(chips, poses, SIDE, draw)
        others = max(2, len(chips) // NO_FACES)
        hidden = disturb.hide_face(chips.roll(1, 0)[: (others + 1) // 2], SIDE, draw)
        rows = torch.tensor([draw.whole(0, len(self.drawn)) for _ in range(others // 2)])
        drawn = resize(self.drawn[rows].to(images.device), DRAWN_SIDE).contiguous()
        drawn = disturb.turn_any(drawn, SIDE, draw)
        pictures = disturb.worsen(torch.cat([faces, hidden, drawn]), draw)
        return pictures.contiguous(memory_format=torch.channels_last), poses


def loss_of(outputs: Tensor, poses: Tensor) -> Tensor:
    """Score outputs (B + N, 6) for pictures of which the first B show faces in poses (B, 4)."""
    faces = len(poses)
    aims = torch.cat([poses[:, :1].cos(), poses[:, :1].sin(), poses[:, 1:]], dim=1)  # (B, 5)
    place = F.smooth_l1_loss(outputs[:faces, :5], aims, beta=BETA) * 5
    is_face = (torch.arange(len(outputs), device=outputs.device) < faces).float()
    return place + CONFIDENCE * F.binary_cross_entropy_with_logits(outputs[:, 5], is_face)


def train(config: AlignerConfig, run: Run, observer: Observer | None = None) -> AlignerMetadata:
    """Train the aligner, or continue its run, and return the metadata of its best weights.

    The weights file, RUN/best.safetensors, holds its errors on the test split's chips, which are
    read once, at the end. Raises DataError for a data set that cannot be used, TrainingError for a
    loss that diverges.
    """
    dataset = open_dataset(Path(config.data))
    training = Training(config, dataset, run, observer or Observer())
    history = training.fit()
    best = next(record for record in reversed(history) if record["best"])
    test = training.batches("test")
    metadata = replace(
        training.metadata(best),
        metrics=measure(Network(run.best), test) if len(test) else {},
    )
    save_weights(run.best, load_file(run.best), metadata)
    run.log(f"done after {len(history)} epochs, best {best['epoch']}: {metadata.metrics}")
    return metadata


class Training:
    """The aligner's training: its parts, and the loop over them."""

    def __init__(
        self, config: AlignerConfig, dataset: Dataset, run: Run, observer: Observer
    ) -> None:
        self.config, self.dataset, self.run, self.observer = config, dataset, run, observer
        self.device = torch.device(find_device(config.device))
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(hash_seed(config.seed))
        self.model = to_channels_last(Aligner().to(self.device))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.average = MovingAverage(self.model, config.ema)
        self.train, self.validation = self.batches("train"), self.batches("val")
        if not len(self.train) or not len(self.validation):
            raise DataError(f"{dataset.folder} has no chips to use: prepare more pictures")
        self.schedule = Schedule(self.optimizer, config, len(self.train))
        drawn = draw_pictures(min(DRAWN, len(self.train.rows)), DRAWN_SIDE, config.seed)
        self.lessons = Lessons(torch.from_numpy(drawn))

    def batches(self, split: str) -> Batches:
        """Give the batches of a split; the training's are shuffled."""
        config, rows = self.config, self.dataset.rows(split)
        if config.limit:
            rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.limit])
        return Batches(
            self.dataset.images, rows, batch_size=config.batch_size,
            shuffle=split == "train" and len(rows) > 0, seed=config.seed,
        )  # fmt: skip

    def fit(self) -> list[dict[str, Any]]:
        """Train all epochs, and return the history."""
        history = self._resume()
        self.observer.started(
            {
                "model": self.config.model,
                "parameters": sum(p.numel() for p in self.model.parameters()),
                "train_images": len(self.train.rows),
                "val_images": len(self.validation.rows),
                "device": describe_device(self.device, "no"),
                "epochs": self.config.epochs,
                "run": str(self.run.folder),
                "done": len(history),
            }
        )
        while len(history) < self.config.epochs:
            began, epoch = time.monotonic(), len(history)
            record = self._train_epoch(epoch)
            if not np.isfinite(record["train_loss"]):
                raise TrainingError(f"The loss became no number in epoch {epoch + 1}: lower --lr")
            record |= self._validate()
            record["seconds"] = time.monotonic() - began
            append_record(history, record)
            if record["best"]:
                save_weights(self.run.best, self.average.model.state_dict(), self.metadata(record))
            parts = self._parts().items()
            self.run.save({"history": history} | {name: part.state_dict() for name, part in parts})
            self.observer.finished_epoch(record)
        return history

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        # All randomness of an epoch follows from the seed and its number: resuming repeats it.
        seed = hash_seed(self.config.seed, epoch)
        draw = Draw(torch.Generator(self.device).manual_seed(seed))
        self.model.train()
        total, done = torch.zeros((), device=self.device), 0
        began = reported = time.monotonic()
        for step, (images, _) in enumerate(self.train.epoch(epoch)):
            pictures, poses = self.lessons.batch(images.to(self.device), draw)
            loss = loss_of(self.model(pictures), poses)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.after_step()
            self.average.update(self.model)
            total += loss.detach()
            done += len(images)
            now = time.monotonic()
            progress = {
                "epoch": epoch + 1,
                "lr": self.optimizer.param_groups[0]["lr"],
                "images_per_second": done / (now - began),
            }
            if now - reported > REPORT_SECONDS or step + 1 == len(self.train):
                reported = now
                self.observer.stepped(
                    progress
                    | {
                        "step": step + 1,
                        "steps": len(self.train),
                        "loss": total.item() / (step + 1),
                        "memory": memory_in_use(self.device),
                    }
                )
        return progress | {"train_loss": total.item() / len(self.train)}

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Score the average's first look at validation chips, disturbed the same every time."""
        model = self.average.model.eval()
        draw = Draw(torch.Generator(self.device).manual_seed(0))
        faces, others, poses = [], [], []
        for images, _ in self.validation.epoch():
            pictures, aims = self.lessons.batch(images.to(self.device), draw)
            outputs = model(pictures)  # (B + N, 6)
            faces.append(outputs[: len(aims)])
            others.append(outputs[len(aims) :])
            poses.append(aims)
        found, rest, true = torch.cat(faces), torch.cat(others), torch.cat(poses)
        loss = loss_of(torch.cat([found, rest]), true).item()
        answers, no_faces = found.cpu().numpy(), rest.cpu().numpy()
        angle = np.arctan2(answers[:, 1], answers[:, 0])
        figures = errors(np.column_stack([angle, answers[:, 2:5]]), true.cpu().numpy())
        figures["auc"] = area_under_curve(answers[:, 5], no_faces[:, 5])
        return {"val_loss": loss} | {f"val_{name}": value for name, value in figures.items()}

    def _parts(self) -> dict[str, Any]:
        """Name all that has a state."""
        return {
            "model": self.model,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    def _resume(self) -> list[dict[str, Any]]:
        state = self.run.load()
        if state is None:
            return []
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        return state["history"]

    def metadata(self, record: dict[str, Any]) -> AlignerMetadata:
        """Give what the weights file says of the epoch that is the best so far."""
        settings = {k: v for k, v in vars(self.config).items() if k not in ("data", "device")}
        return AlignerMetadata(
            image_size=SIDE,
            strides=list(STRIDES),
            split_hash=self.dataset.receipt["split_hash"],
            metrics={},
            training={
                "data": self.dataset.receipt["sources"],
                "train_images": len(self.train.rows),
                "best_epoch": record["epoch"],
                "device": describe_device(self.device, "no"),
                "validation": {k: v for k, v in record.items() if k.startswith("val_")},
                "config": settings,
            },
        )
