"""agecli train dinov2: the model trained through transformers."""

from __future__ import annotations

from pathlib import Path

import typer

from agecli.commands import _options as options
from agecli.commands._training import train_model
from agecli.config import Dinov2Config

DINOV2_EXAMPLES = """\b
Examples:
  agecli train dinov2 --amp
  agecli train dinov2 --backbone facebook/dinov2-with-registers-small --views 4
  agecli train dinov2 --unfreeze 2 --grad-checkpoint
  agecli train dinov2 --backbone scratch:tiny --teacher cnn --lr 4e-4
"""


def dinov2(
    context: typer.Context,
    data: options.Data = Path(Dinov2Config.data),
    backbone: options.Backbone = Dinov2Config.backbone,
    pool: options.Pool = Dinov2Config.pool,
    hidden: options.Hidden = Dinov2Config.hidden,
    image_size: options.BackboneImageSize = Dinov2Config.image_size,
    views: options.Views = Dinov2Config.views,
    unfreeze: options.Unfreeze = Dinov2Config.unfreeze,
    layer_decay: options.LayerDecay = Dinov2Config.layer_decay,
    teacher: options.Teacher = Dinov2Config.teacher,
    init: options.InitWeights = Dinov2Config.init,
    drop_path: options.DropPath = Dinov2Config.drop_path,
    objective: options.Objective = Dinov2Config.objective,
    epochs: options.Epochs = Dinov2Config.epochs,
    batch_size: options.BatchSize = Dinov2Config.batch_size,
    accumulate: options.Accumulate = Dinov2Config.accumulate,
    lr: options.LearningRate = Dinov2Config.lr,
    weight_decay: options.WeightDecay = Dinov2Config.weight_decay,
    schedule: options.Schedule = Dinov2Config.schedule,
    dropout: options.Dropout = Dinov2Config.dropout,
    augment: options.Augment = Dinov2Config.augment,
    balance: options.Balance = Dinov2Config.balance,
    label_smoothing: options.LabelSmoothing = Dinov2Config.label_smoothing,
    label_width: options.LabelWidth = Dinov2Config.label_width,
    ema: options.Ema = Dinov2Config.ema,
    patience: options.Patience = Dinov2Config.patience,
    amp: options.Amp = Dinov2Config.amp,
    grad_checkpoint: options.GradCheckpoint = Dinov2Config.grad_checkpoint,
    vram_budget: options.VramBudget = Dinov2Config.vram_budget,
    seed: options.Seed = Dinov2Config.seed,
    device: options.Device = Dinov2Config.device,
    workers: options.LoaderWorkers = Dinov2Config.workers,
    limit: options.Limit = Dinov2Config.limit,
    config: options.ConfigFile = None,
    from_study: options.FromStudy = None,
    show_config: options.ShowConfig = False,
    run: options.RunFolder = None,
    resume: options.Resume = None,
    memory_report: options.MemoryReport = False,
    as_json: options.Json = False,
) -> None:
    """Train a head on DINOv2: the frozen backbone sees each image once.

    Eight heads are trained at once on its features, at rates around --lr and decays from
    --weight-decay on, and the best on validation is kept. --unfreeze goes on with the last blocks.
    For the heads alone, --batch-size is that of the backbone's one pass, and --schedule, --ema,
    --accumulate, --grad-checkpoint, --layer-decay and --drop-path count for nothing.
    """
    train_model(context, Dinov2Config)
