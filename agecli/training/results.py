"""What a training leaves: the weights file of its best epoch, and its figures on the test split."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from agecli.ages import Answers, IntArray
from agecli.config import DETECTOR, FACE_MARGIN, TrainConfig
from agecli.data.store import Dataset
from agecli.errors import DataError
from agecli.training.runs import Run
from agecli.training.session import architecture_of
from agecli.weights import Metadata, read_metadata, save_weights

Answered = tuple[Answers, IntArray]
"""What the weights answer for N images at temperature 1, and the ages (N,) of these."""


@dataclass(frozen=True)
class Results:
    """Writes the weights file of a run; every trainer keeps its best weights through it."""

    run: Run
    config: TrainConfig
    dataset: Dataset
    device: Any
    """Where the model is scored: cpu, cuda or mps."""
    place: str
    """The device in words."""
    train_images: int
    init: str = "random"
    """What the weights started from."""
    backbone: dict[str, str] | None = None
    """Id and revision of the backbone that is not in the file."""
    before: dict[str, Any] | None = None
    """How the weights to begin with were trained, by their own metadata."""

    def facts(self, parameters: int, val_images: int, epochs: int) -> dict[str, Any]:
        """Return what an observer hears at the start."""
        return {
            "model": self.config.title,
            "parameters": parameters,
            "train_images": self.train_images,
            "val_images": val_images,
            "device": self.place,
            "epochs": epochs,
            "run": str(self.run.folder),
        }

    def save_best(self, state: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write the weights of an epoch that is the best so far, with its record."""
        save_weights(self.run.best, state, self._metadata(record))

    def finish(
        self, history: list[dict[str, Any]], *, score: bool = True,
        validation: Answered | None = None, **facts: Any,
    ) -> Metadata:  # fmt: skip
        """Calibrate the best weights and score them on the test split as users run them.

        Temperature and figures are written into the file. score: this is the process that scores
        and writes, and no stage in front of another and no trial of a search. validation: what the
        weights answer there, where that is known for less than running the model. facts: what else
        the file shall say of its training.
        """
        best = next(record for record in reversed(history) if record["best"])
        final = self._metadata(best)
        seconds = round(sum(record["seconds"] for record in history))
        facts = {"epochs": len(history), "seconds": seconds} | facts
        final = replace(final, training=final.training | facts)
        if score:
            # Users' predictor runs in fp32: under a budget it gets half the batch of training.
            size = (
                self.config.batch_size // 2 if self.config.vram_budget else TrainConfig.batch_size
            )
            final = score_weights(
                self.run.best, self.dataset, final, device=self.device, batch_size=max(1, size),
                validation=validation,
            )  # fmt: skip
            figures = {name: value for name, value in final.metrics.items() if name != "slices"}
            self.run.log(f"done after {len(history)} epochs, best {best['epoch']}: {figures}")
        return final

    def _metadata(self, record: dict[str, Any]) -> Metadata:
        config, receipt = self.config, self.dataset.receipt
        scheme = self.dataset.scheme
        return Metadata(
            model=config.model,
            title=config.title,
            architecture=architecture_of(config, scheme),
            objective=config.objective,
            scheme=scheme.labels,
            image_size=config.image_size,
            mean=list(config.mean),
            std=list(config.std),
            crop={"detector": DETECTOR, "margin": FACE_MARGIN},
            split_hash=receipt.split_hash,
            backbone=self.backbone,
            training={
                "data": receipt.sources,
                "train_images": self.train_images,
                "init": self.init,
                **({"before": self.before} if self.before else {}),
                "best_epoch": record["epoch"],
                "device": self.place,
                "validation": {k: v for k, v in record.items() if k.startswith("val_")},
                "config": _public(config),
            },
        )


def score_weights(
    path: Path, dataset: Dataset, metadata: Metadata | None = None, *, device: Any = "cpu",
    batch_size: int = TrainConfig.batch_size, validation: Answered | None = None,
) -> Metadata:  # fmt: skip
    """Calibrate a weights file on validation and score it on the test split as users run it.

    Temperature and figures are written into the file, beside the rest of the metadata: the file's
    own by default. validation: what the weights answer there, where that is known. Returns what the
    file then says.
    """
    from safetensors.torch import load_file

    from agecli.evaluation.calibration import fit_temperature
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import load_model

    final = metadata or read_metadata(path)
    model = load_model(path, device)
    evaluate = partial(evaluate_model, model, dataset, batch_size=batch_size)
    with suppress(DataError):  # a small data set may have no such image with a group
        if validation is None:
            model.metadata = replace(model.metadata, temperature=1.0)
            answered = evaluate("val")
            validation = model.interpret(answered.distribution), answered.ages
        final = replace(final, temperature=fit_temperature(*validation))
        model.metadata = replace(model.metadata, temperature=final.temperature)
    with suppress(DataError):
        answered = evaluate("test")
        final = replace(final, metrics=answered.metrics())
    save_weights(path, load_file(path), final)
    return final


def _public(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration's settings without this machine's paths."""
    names = {k: v for k, v in vars(config).items() if k not in ("data", "device")}
    if Path(names.get("backbone", "")).is_absolute():
        names["backbone"] = Path(names["backbone"]).name
    return names | {k: Path(names[k]).name for k in ("init", "teacher") if names.get(k)}
