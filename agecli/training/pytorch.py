"""Train a PyTorch model: open the data, build, fit, test; the way of `train cnn`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from agecli.ages import Scheme
from agecli.config import DETECTOR, FACE_MARGIN, IMAGENET_MEAN, IMAGENET_STD, TrainConfig
from agecli.data.batches import Batches
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError, TrainingError
from agecli.training.budget import advice, halve_batch
from agecli.training.engine import Schedule, Trainer, hash_seed
from agecli.training.memory import clear_device_cache, is_out_of_memory
from agecli.training.objectives import make_objective
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.setup import (
    architecture_of,
    build_model,
    build_optimizer,
    make_accelerator,
    rows_of,
)
from agecli.weights import Metadata, save_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(config: TrainConfig, run: Run, observer: Observer | None = None) -> Metadata:
    """Train a model, or continue its run, and return the metadata of its best weights.

    The weights file, RUN/best.safetensors, holds the test split's figures, read once, at the end.
    Out of memory under a --vram-budget, the run goes on from its last epoch with half the
    micro-batch. Raises DataError for a data set that cannot be used, TrainingError for a loss that
    diverges or too little memory.
    """
    observer = observer or Observer()
    while True:
        try:
            return _train(config, run, observer)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # One of several processes cannot change its batches alone.
            alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
            smaller = halve_batch(config) if config.vram_budget and alone else None
            if smaller is None:
                raise TrainingError(advice(config)) from error
        clear_device_cache()  # out here the error holds no tensors any more
        config = smaller
        run.configure(config)
        observer.warned(
            f"out of memory: going on with {config.accumulate} batches of {config.batch_size} "
            "a step"
        )


def _train(config: TrainConfig, run: Run, observer: Observer) -> Metadata:
    dataset = open_dataset(Path(config.data))
    scheme = Scheme.parse(dataset.receipt["scheme"])
    accelerator = make_accelerator(config)
    torch.manual_seed(hash_seed(config.seed))
    model = build_model(config, scheme)
    optimizer = build_optimizer(config, model)
    objective = make_objective(config, scheme, dataset.ages[dataset.rows("train")])
    train_rows = rows_of(dataset, "train", objective, config)
    val_rows = rows_of(dataset, "val", objective, config)
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
            architecture=architecture_of(config, scheme),
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
        final = _test(run, final, dataset, accelerator.device.type, config)
        run.log(f"done after {len(history)} epochs, best {best['epoch']}: {final.metrics}")
    accelerator.wait_for_everyone()
    return final


def _test(
    run: Run, final: Metadata, dataset: Dataset, device: Any, config: TrainConfig
) -> Metadata:
    """Score the best weights on the test split as users run them, and write that into the file."""
    from safetensors.torch import load_file

    from agecli.evaluation.report import evaluate_model
    from agecli.inference.predictor import Predictor

    # Users' predictor runs in fp32: under a budget it gets half the batch that training has.
    batch_size = max(1, config.batch_size // 2) if config.vram_budget else TrainConfig.batch_size
    try:
        model = Predictor([run.best], device=device).models[0]
        final = replace(
            final, metrics=evaluate_model(model, dataset, "test", batch_size=batch_size).scores
        )
    except DataError:  # a small data set may have no test image with a group
        pass
    save_weights(run.best, load_file(run.best), final)
    return final


def _describe(accelerator: Accelerator) -> str:
    name = accelerator.device.type
    if name == "cuda":
        name = torch.cuda.get_device_name(accelerator.device)
    elif name == "cpu":
        name = f"cpu, {torch.get_num_threads()} threads"
    precision = "" if accelerator.mixed_precision == "no" else f", {accelerator.mixed_precision}"
    many = f" × {accelerator.num_processes}" if accelerator.num_processes > 1 else ""
    return name + many + precision
