"""Options that several commands share, named once; their defaults are in agecli.config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecli import config

Data = Annotated[Path, typer.Option(metavar="DIR", help="Data set of `agecli prepare`.")]
ImageSize = Annotated[int, typer.Option(help="Side of the model's input in pixels.")]
Objective = Annotated[
    config.Objective,
    typer.Option(
        help="Train on age groups, on a distribution over years (gap ages too), or on both.",
    ),
]
Stem = Annotated[
    config.Stem,
    typer.Option(help="Strided convolutions with batch norm, or the paper's two 9×9 ones."),
]
RoutingIters = Annotated[int, typer.Option(help="Iterations of dynamic routing.")]
PrimaryDim = Annotated[int, typer.Option(help="Values of a primary capsule.")]
GroupDim = Annotated[int, typer.Option(help="Values of a group capsule.")]
Share = Annotated[
    bool, typer.Option(help="All positions share the capsules' transformation matrices.")
]
Reconstruction = Annotated[
    bool,
    typer.Option(
        "--reconstruction", help="Reconstruct the picture from its group's capsule, to regularise."
    ),
]
Epochs = Annotated[int, typer.Option(help="Most epochs.")]
BatchSize = Annotated[int, typer.Option(help="Images per batch.")]
Accumulate = Annotated[int, typer.Option(help="Batches per optimiser step.")]
LearningRate = Annotated[float, typer.Option("--lr", help="Highest learning rate.")]
WeightDecay = Annotated[float, typer.Option(help="AdamW weight decay.")]
Schedule = Annotated[config.Schedule, typer.Option(help="Learning-rate schedule.")]
Dropout = Annotated[float, typer.Option(help="Dropout of the head.")]
Balance = Annotated[
    config.Balance,
    typer.Option(help="Weight of rare groups in the loss."),
]
Augment = Annotated[
    config.Augment,
    typer.Option(
        help="light: rotate, scale, shift, mirror; wild: also soften, recolour, compress, erase."
    ),
]
LabelSmoothing = Annotated[float, typer.Option(help="Label smoothing over the groups.")]
LabelWidth = Annotated[
    float,
    typer.Option(help="Width of the age distribution, 1 = 0.6 + 6 % of the age."),
]
Ema = Annotated[
    float,
    typer.Option(help="Decay of the moving average of weights, 0 = none."),
]
Patience = Annotated[
    int,
    typer.Option(help="Epochs without a better validation loss before stopping; 0 = never."),
]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
Amp = Annotated[
    bool,
    typer.Option("--amp", help="Mixed precision: bf16, or fp16 where a GPU has no bf16."),
]
GradCheckpoint = Annotated[
    bool,
    typer.Option("--grad-checkpoint", help="Recompute activations: less memory, more time."),
]
VramBudget = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        show_default=False,
        help="Memory to stay inside, as 4GB: chooses --amp, --grad-checkpoint and smaller batches, "
        "accumulated to the same step.",
    ),
]
MemoryReport = Annotated[
    bool,
    typer.Option(
        "--memory-report",
        help="Do not train: measure what a step of these settings needs, with --amp and "
        "--grad-checkpoint and without.",
    ),
]
Arch = Annotated[config.Arch, typer.Option(help="Depth of the network.")]
InitWeights = Annotated[
    str,
    typer.Option(
        metavar="WEIGHTS",
        help="Weights to begin with: a file, a run, or a released model; none is from scratch.",
    ),
]
Init = Annotated[
    str,
    typer.Option(
        metavar="imagenet|none|PATH",
        help="What the body starts from: torchvision's ImageNet weights, nothing, a state dict "
        "(.pth, .safetensors), or a run of ours.",
    ),
]
FreezeEpochs = Annotated[
    int | None,
    typer.Option(
        help="Epochs of the head alone, before all layers; by default 1, or 0 with --init none."
    ),
]
FoundRate = Annotated[
    float,
    typer.Option(
        "--lr",
        metavar="RATE|auto",
        parser=lambda text: 0.0 if text == "auto" else float(text),
        help="Highest learning rate; auto: fastai's lr_find chooses it.",
    ),
]
RateRatio = Annotated[
    float,
    typer.Option(help="Rate of the head over that of a pre-trained body's first layers."),
]
Backbone = Annotated[
    str,
    typer.Option(
        metavar="ID|DIR|scratch:tiny",
        help="DINOv2 backbone: a hub id, a local folder, or a small one that is trained whole.",
    ),
]
Pool = Annotated[
    config.Pool,
    typer.Option(help="What the head sees: [CLS] token, mean of patch tokens, or both."),
]
Hidden = Annotated[int, typer.Option(help="Width of a hidden layer in the head; 0 = none.")]
BackboneImageSize = Annotated[
    int,
    typer.Option("--image-size", help="Side of the input in pixels; 0 = the backbone's own."),
]
Views = Annotated[
    int,
    typer.Option(help="Views of each training image: 1 = plain, more = augmented ones too."),
]
Unfreeze = Annotated[
    int, typer.Option(metavar="N", help="Train the last N blocks too, after the head.")
]
LayerDecay = Annotated[
    float, typer.Option(help="Rate of a block, as a share of the one behind it (--unfreeze).")
]
DropPath = Annotated[float, typer.Option(help="Stochastic depth of scratch:tiny.")]
Teacher = Annotated[
    str,
    typer.Option(
        metavar="WEIGHTS",
        show_default=False,
        help="A trained model whose answers scratch:tiny learns, beside the labels.",
    ),
]
Device = Annotated[config.Device, typer.Option(help="Where to run.")]
LoaderWorkers = Annotated[int, typer.Option("--workers", help="Threads that gather batches.")]
Limit = Annotated[
    int,
    typer.Option(help="Use only so many images, for a trial; 0 = all."),
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--run", help="Folder to fill; runs/MODEL by default."),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Continue a run with its own settings."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings from a TOML file or a run's config.json; options given here win.",
    ),
]
FromStudy = Annotated[
    Path | None,
    typer.Option(metavar="STUDY", help="Settings from the best trial of `agecli tune`."),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config", help="Do not train: show all settings and where each comes from."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")]
