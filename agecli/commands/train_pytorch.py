"""agecli train cnn, capsnet: the models trained with plain PyTorch."""

from __future__ import annotations

from pathlib import Path

import typer

from agecli.commands import _options as options
from agecli.commands._training import train_model
from agecli.config import CapsNetConfig, CnnConfig

CAPSNET_EXAMPLES = """\b
Examples:
  agecli train capsnet --vram-budget 4GB
  agecli train capsnet --image-size 128 --reconstruction
  agecli train capsnet --resume runs/capsnet
"""

CNN_EXAMPLES = """\b
Examples:
  agecli train cnn --image-size 128 --amp
  agecli train cnn --objective groups --epochs 10 --run runs/groups
  agecli train cnn --init weights/cnn.safetensors --image-size 96 --epochs 6 --lr 3e-4
  agecli train cnn --resume runs/cnn
"""


def cnn(
    context: typer.Context,
    data: options.Data = Path(CnnConfig.data),
    image_size: options.ImageSize = CnnConfig.image_size,
    objective: options.Objective = CnnConfig.objective,
    init: options.InitWeights = CnnConfig.init,
    epochs: options.Epochs = CnnConfig.epochs,
    batch_size: options.BatchSize = CnnConfig.batch_size,
    accumulate: options.Accumulate = CnnConfig.accumulate,
    lr: options.LearningRate = CnnConfig.lr,
    weight_decay: options.WeightDecay = CnnConfig.weight_decay,
    schedule: options.Schedule = CnnConfig.schedule,
    dropout: options.Dropout = CnnConfig.dropout,
    augment: options.Augment = CnnConfig.augment,
    balance: options.Balance = CnnConfig.balance,
    label_smoothing: options.LabelSmoothing = CnnConfig.label_smoothing,
    label_width: options.LabelWidth = CnnConfig.label_width,
    ema: options.Ema = CnnConfig.ema,
    patience: options.Patience = CnnConfig.patience,
    amp: options.Amp = CnnConfig.amp,
    grad_checkpoint: options.GradCheckpoint = CnnConfig.grad_checkpoint,
    vram_budget: options.VramBudget = CnnConfig.vram_budget,
    seed: options.Seed = CnnConfig.seed,
    device: options.Device = CnnConfig.device,
    workers: options.LoaderWorkers = CnnConfig.workers,
    limit: options.Limit = CnnConfig.limit,
    config: options.ConfigFile = None,
    from_study: options.FromStudy = None,
    show_config: options.ShowConfig = False,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    memory_report: options.MemoryReport = False,
    as_json: options.Json = False,
) -> None:
    """Train the convolutional network: four conv blocks, two dropouts, FC 512.

    Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume goes on as if nothing had happened.
    """
    train_model(context, CnnConfig)


def capsnet(
    context: typer.Context,
    data: options.Data = Path(CapsNetConfig.data),
    image_size: options.ImageSize = CapsNetConfig.image_size,
    init: options.InitWeights = CapsNetConfig.init,
    stem: options.Stem = CapsNetConfig.stem,
    routing_iters: options.RoutingIters = CapsNetConfig.routing_iters,
    primary_dim: options.PrimaryDim = CapsNetConfig.primary_dim,
    group_dim: options.GroupDim = CapsNetConfig.group_dim,
    share: options.Share = CapsNetConfig.share,
    reconstruction: options.Reconstruction = CapsNetConfig.reconstruction,
    epochs: options.Epochs = CapsNetConfig.epochs,
    batch_size: options.BatchSize = CapsNetConfig.batch_size,
    accumulate: options.Accumulate = CapsNetConfig.accumulate,
    lr: options.LearningRate = CapsNetConfig.lr,
    weight_decay: options.WeightDecay = CapsNetConfig.weight_decay,
    schedule: options.Schedule = CapsNetConfig.schedule,
    dropout: options.Dropout = CapsNetConfig.dropout,
    augment: options.Augment = CapsNetConfig.augment,
    balance: options.Balance = CapsNetConfig.balance,
    ema: options.Ema = CapsNetConfig.ema,
    patience: options.Patience = CapsNetConfig.patience,
    amp: options.Amp = CapsNetConfig.amp,
    grad_checkpoint: options.GradCheckpoint = CapsNetConfig.grad_checkpoint,
    vram_budget: options.VramBudget = CapsNetConfig.vram_budget,
    seed: options.Seed = CapsNetConfig.seed,
    device: options.Device = CapsNetConfig.device,
    workers: options.LoaderWorkers = CapsNetConfig.workers,
    limit: options.Limit = CapsNetConfig.limit,
    config: options.ConfigFile = None,
    from_study: options.FromStudy = None,
    show_config: options.ShowConfig = False,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    memory_report: options.MemoryReport = False,
    as_json: options.Json = False,
) -> None:
    """Train the capsule network: one capsule per age group, found by dynamic routing.

    Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume goes on as if nothing had happened.
    """
    train_model(context, CapsNetConfig)
