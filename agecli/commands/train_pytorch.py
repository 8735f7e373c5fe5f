"""agecli train cnn: the models trained with plain PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from agecli.commands import _options as options
from agecli.config import TrainConfig

CNN_EXAMPLES = """\b
Examples:
  agecli train cnn --image-size 128 --amp
  agecli train cnn --objective groups --epochs 10 --run runs/groups
  agecli train cnn --resume runs/cnn
"""


def cnn(
    context: typer.Context,
    data: options.Data = Path(TrainConfig.data),
    image_size: options.ImageSize = TrainConfig.image_size,
    objective: options.Objective = TrainConfig.objective,
    epochs: options.Epochs = TrainConfig.epochs,
    batch_size: options.BatchSize = TrainConfig.batch_size,
    accumulate: options.Accumulate = TrainConfig.accumulate,
    lr: options.LearningRate = TrainConfig.lr,
    weight_decay: options.WeightDecay = TrainConfig.weight_decay,
    schedule: options.Schedule = TrainConfig.schedule,
    dropout: options.Dropout = TrainConfig.dropout,
    balance: options.Balance = TrainConfig.balance,
    label_smoothing: options.LabelSmoothing = TrainConfig.label_smoothing,
    label_width: options.LabelWidth = TrainConfig.label_width,
    ema: options.Ema = TrainConfig.ema,
    patience: options.Patience = TrainConfig.patience,
    amp: options.Amp = TrainConfig.amp,
    grad_checkpoint: options.GradCheckpoint = TrainConfig.grad_checkpoint,
    seed: options.Seed = TrainConfig.seed,
    device: options.Device = TrainConfig.device,
    workers: options.LoaderWorkers = TrainConfig.workers,
    limit: options.Limit = TrainConfig.limit,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    as_json: options.Json = False,
) -> None:
    """Train the convolutional network: four conv blocks, two dropouts, FC 512.

    Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume goes on as if nothing had happened.
    """
    settings: dict[str, Any] = {
        "data": str(data), "image_size": image_size, "objective": objective, "epochs": epochs,
        "batch_size": batch_size, "accumulate": accumulate, "lr": lr,
        "weight_decay": weight_decay, "schedule": schedule, "dropout": dropout,
        "balance": balance, "label_smoothing": label_smoothing, "label_width": label_width,
        "ema": ema, "patience": patience, "amp": amp, "grad_checkpoint": grad_checkpoint,
        "seed": seed, "device": device, "workers": workers, "limit": limit,
    }  # fmt: skip
    _train(context, TrainConfig(model="cnn", **settings), run, resume, as_json)


def _train(
    context: typer.Context,
    config: TrainConfig,
    folder: Path | None,
    resume: Path | None,
    as_json: bool,
) -> None:
    from agecli.commands._display import show_result, training_display
    from agecli.data.store import open_dataset
    from agecli.errors import UsageError
    from agecli.training.runs import Run

    if resume:
        given = [
            name for name in context.params
            if name not in ("resume", "as_json")
            and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        ]  # fmt: skip
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise UsageError(f"--resume keeps the run's own settings: leave out {flag}")
        run, config = Run.open(resume)
    else:
        open_dataset(Path(config.data))  # say what is wrong before anything is made
        run = Run.create(folder or Run.free_folder(config.model), config)
    with training_display(config.model, run.folder) as display:
        from agecli.training.pytorch import train

        result = train(config, run, display)
    show_result(result, run, as_json)
