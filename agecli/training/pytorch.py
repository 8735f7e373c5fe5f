"""Train a PyTorch model: open the data, build, fit, test; the way of `train cnn`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from agecli.ages import Scheme, outputs_of
from agecli.config import DETECTOR, FACE_MARGIN, IMAGENET_MEAN, IMAGENET_STD, TrainConfig
from agecli.data.batches import Batches
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError
from agecli.registry import MODELS
from agecli.training.engine import Schedule, Trainer, hash_seed
from agecli.training.memory import keep_freed_memory
from agecli.training.objectives import AgeObjective
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.weights import Metadata, save_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(config: TrainConfig, run: Run, observer: Observer | None = None) -> Metadata:
    """Train a model, or continue its run, and return the metadata of its best weights.

    The weights file, RUN/best.safetensors, holds the test split's figures, read once, at the end.
    Raises DataError for a data set that cannot be used, TrainingError for a loss that diverges.
    """
    observer = observer or Observer()
    dataset = open_dataset(Path(config.data))
    scheme = Scheme.parse(dataset.receipt["scheme"])
    accelerator = make_accelerator(config)
    torch.manual_seed(hash_seed(config.seed))
    architecture = {
        "outputs": outputs_of(config.objective, scheme),
        "image_size": config.image_size,
        "dropout": config.dropout,
    }
    model = MODELS[config.model].build(**architecture)
    model.grad_checkpoint = config.grad_checkpoint  # type: ignore[assignment]
    model = model.to(memory_format=torch.channels_last)
    # Fused: one pass over the weights instead of a dozen.
    optimizer = torch.optim.AdamW(
        model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
    )
    objective = AgeObjective(config, scheme, dataset.ages[dataset.rows("train")])
    train_rows = _rows(dataset, "train", objective, config)
    val_rows = _rows(dataset, "val", objective, config)
    place: dict[str, Any] = {
        "batch_size": config.batch_size,
        "workers": config.workers,
        "rank": accelerator.process_index,
        "world": accelerator.num_processes,
    }
    batches = Batches(
        dataset.images, train_rows, shuffle=True, seed=config.seed,
        accumulate=config.accumulate, **place,
    )  # fmt: skip
    schedule = Schedule(optimizer, config, len(batches) // config.accumulate)
    model, optimizer = accelerator.prepare(model, optimizer)
    facts = {
        "model": config.model,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_images": len(train_rows),
        "val_images": len(val_rows),
        "device": _describe(accelerator),
        "epochs": config.epochs,
        "run": str(run.folder),
    }

    def metadata(record: dict[str, Any]) -> Metadata:
        return Metadata(
            model=config.model,
            architecture=architecture,
            objective=config.objective,
            scheme=scheme.labels,
            image_size=config.image_size,
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
            crop={"detector": DETECTOR, "margin": FACE_MARGIN},
            split_hash=dataset.receipt["split_hash"],
            training={
                "data": dataset.receipt["sources"],
                "train_images": len(train_rows),
                "init": "random",
                "best_epoch": record["epoch"],
                "device": facts["device"],
                "validation": {k: v for k, v in record.items() if k.startswith("val_")},
                "config": {k: v for k, v in vars(config).items() if k not in ("data", "device")},
            },
        )

    def save_best(best: nn.Module, record: dict[str, Any]) -> None:
        save_weights(run.best, best.state_dict(), metadata(record))

    if accelerator.is_main_process:
        run.log(f"training on {facts['device']}, {len(train_rows)} images")
    history = Trainer(
        config=config,
        scheme=scheme,
        dataset=dataset,
        accelerator=accelerator,
        model=model,
        objective=objective.to(accelerator.device),
        optimizer=optimizer,
        schedule=schedule,
        train=batches,
        validation=Batches(dataset.images, val_rows, **place),
        run=run,
        save_best=save_best,
        observer=observer,
        facts=facts,
    ).fit()
    best = next(record for record in reversed(history) if record["best"])
    seconds = round(sum(record["seconds"] for record in history))
    final = metadata(best)
    final = replace(final, training=final.training | {"epochs": len(history), "seconds": seconds})
    if accelerator.is_main_process:
        final = _test(run, final, dataset, accelerator.device.type)
        run.log(f"done after {len(history)} epochs, best {best['epoch']}: {final.metrics}")
    accelerator.wait_for_everyone()
    return final


def _test(run: Run, final: Metadata, dataset: Dataset, device: Any) -> Metadata:
    """Score the best weights on the test split as users run them, and write that into the file."""
    from safetensors.torch import load_file

    from agecli.evaluation.report import evaluate_model
    from agecli.inference.predictor import Predictor

    try:
        model = Predictor([run.best], device=device).models[0]
        final = replace(final, metrics=evaluate_model(model, dataset, "test").scores)
    except DataError:  # a small data set may have no test image with a group
        pass
    save_weights(run.best, load_file(run.best), final)
    return final


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Choose device and precision: fp16 with gradient scaling where a GPU has no bf16."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from agecli.inference.predictor import find_device

    device = find_device(config.device)
    fine = device == "cpu" or (device == "cuda" and torch.cuda.is_bf16_supported())
    if device == "cpu":
        keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)  # one process may train twice
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=("bf16" if fine else "fp16") if config.amp else "no",
        gradient_accumulation_steps=config.accumulate,
    )


def _rows(dataset: Dataset, split: str, objective: AgeObjective, config: TrainConfig) -> np.ndarray:
    rows = dataset.rows(split)
    rows = rows[objective.uses(dataset.ages[rows])]
    if config.limit:
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.limit])
    if not len(rows):
        raise DataError(f"{dataset.folder} has no {split} images to use: prepare more pictures")
    return rows


def _describe(accelerator: Accelerator) -> str:
    name = accelerator.device.type
    if name == "cuda":
        name = torch.cuda.get_device_name(accelerator.device)
    elif name == "cpu":
        name = f"cpu, {torch.get_num_threads()} threads"
    precision = "" if accelerator.mixed_precision == "no" else f", {accelerator.mixed_precision}"
    many = f" × {accelerator.num_processes}" if accelerator.num_processes > 1 else ""
    return name + many + precision
