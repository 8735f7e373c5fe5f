"""agecli train resnet: the model trained through fastai."""

from __future__ import annotations

from pathlib import Path

import typer

from agecli.commands import _options as options
from agecli.commands._training import train_model
from agecli.config import ResNetConfig

RESNET_EXAMPLES = """\b
Examples:
  agecli train resnet --amp
  agecli train resnet --arch resnet18 --init none --image-size 112 --lr auto
  agecli train resnet --init resnet34-b627a593.pth --freeze-epochs 2 --epochs 10
  agecli train resnet --resume runs/resnet
"""


def resnet(
    context: typer.Context,
    data: options.Data = Path(ResNetConfig.data),
    arch: options.Arch = ResNetConfig.arch,
    init: options.Init = ResNetConfig.init,
    image_size: options.ImageSize = ResNetConfig.image_size,
    objective: options.Objective = ResNetConfig.objective,
    freeze_epochs: options.FreezeEpochs = ResNetConfig.freeze_epochs,
    epochs: options.Epochs = ResNetConfig.epochs,
    batch_size: options.BatchSize = ResNetConfig.batch_size,
    accumulate: options.Accumulate = ResNetConfig.accumulate,
    lr: options.FoundRate = ResNetConfig.lr,
    rate_ratio: options.RateRatio = ResNetConfig.rate_ratio,
    weight_decay: options.WeightDecay = ResNetConfig.weight_decay,
    dropout: options.Dropout = ResNetConfig.dropout,
    augment: options.Augment = ResNetConfig.augment,
    balance: options.Balance = ResNetConfig.balance,
    label_smoothing: options.LabelSmoothing = ResNetConfig.label_smoothing,
    label_width: options.LabelWidth = ResNetConfig.label_width,
    ema: options.Ema = ResNetConfig.ema,
    patience: options.Patience = ResNetConfig.patience,
    amp: options.Amp = ResNetConfig.amp,
    grad_checkpoint: options.GradCheckpoint = ResNetConfig.grad_checkpoint,
    vram_budget: options.VramBudget = ResNetConfig.vram_budget,
    seed: options.Seed = ResNetConfig.seed,
    device: options.Device = ResNetConfig.device,
    workers: options.LoaderWorkers = ResNetConfig.workers,
    limit: options.Limit = ResNetConfig.limit,
    config: options.ConfigFile = None,
    from_study: options.FromStudy = None,
    show_config: options.ShowConfig = False,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    memory_report: options.MemoryReport = False,
    as_json: options.Json = False,
) -> None:
    """Train a ResNet through fastai: its head first, then all layers at lower rates.

    Starts from ImageNet weights unless --init says otherwise. Fills a run folder, as
    `agecli train cnn` does; --lr auto adds lr_find.png.
    """
    train_model(context, ResNetConfig)
