"""How each model is trained: its own settings, with their meanings and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from agecli.config.base import AgesConfig, Arch, Augment, Pool, Stem, TrainConfig
from agecli.config.fields import NoOption, Option, Weights, check_range
from agecli.config.space import Choice, Float, Int, Space
from agecli.errors import UsageError


@dataclass(frozen=True)
class CnnConfig(AgesConfig):
    """Train the convolutional network: four conv blocks, two dropouts, FC 512.

    Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume goes on as if nothing had happened.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "--image-size 128 --amp",
        "--objective groups --epochs 10 --run runs/groups",
        "--init weights/cnn.safetensors --image-size 96 --epochs 6 --lr 3e-4",
        "--resume runs/cnn",
    )
    tune_examples: ClassVar[tuple[str, ...]] = (
        "--trials 12 --epochs 2 --image-size 64",
        "--objective both --workers 2 --timeout 3600",
    )

    model: NoOption[str] = "cnn"
    init: Weights = "none"
    """Weights to begin with: a file, a run, or a released model; none is from scratch."""

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
        return _for_weights(self.init, super().space(), "objective")


@dataclass(frozen=True)
class CapsNetConfig(TrainConfig):
    """Train the capsule network: one capsule per age group, found by dynamic routing.

    Fills a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume goes on as if nothing had happened.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "--vram-budget 4GB",
        "--image-size 128 --reconstruction",
        "--resume runs/capsnet",
    )
    tune_examples: ClassVar[tuple[str, ...]] = ("--image-size 64 --epochs 6 --limit 4000",)
    smallest: ClassVar[int] = 32

    model: NoOption[str] = "capsnet"
    objective: NoOption[Literal["margin"]] = "margin"
    """Margin loss on the lengths of the group capsules, on images that have a group."""
    init: Weights = "none"
    """Weights to begin with: a file, a run, or a released model; none is from scratch."""
    epochs: int = 30
    lr: float = 3e-3
    dropout: Annotated[float, Option("Model")] = 0.1
    stem: Annotated[Stem, Option("Model")] = "strided"
    """Strided convolutions with batch norm, or the paper's two 9×9 ones."""
    routing_iters: Annotated[int, Option("Model")] = 3
    """Iterations of dynamic routing."""
    primary_dim: Annotated[int, Option("Model")] = 8
    """Values of a primary capsule."""
    group_dim: Annotated[int, Option("Model")] = 16
    """Values of a group capsule."""
    share: Annotated[bool, Option("Model")] = True
    """All positions share the capsules' transformation matrices."""
    reconstruction: Annotated[bool, Option("Model", negated=False)] = False
    """Reconstruct the picture from its group's capsule, to regularise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, routing_iters=(1, 20), primary_dim=(2, 64), group_dim=(2, 128))

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings; its outputs come on top."""
        own = ("stem", "routing_iters", "primary_dim", "group_dim", "share", "reconstruction")
        return super().architecture() | {name: getattr(self, name) for name in own}

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
        own: Space = {
            "lr": Float(1e-3, 2e-2, log=True),
            "routing_iters": Int(1, 5),
            "primary_dim": Choice((4, 8, 16)),
            "group_dim": Choice((8, 16, 32)),
        }
        return _for_weights(self.init, super().space() | own, "primary_dim", "group_dim")


def read_rate(text: str) -> float:
    """Read a learning rate: 0 for auto. Raises ValueError for what is no number."""
    return 0.0 if text == "auto" else float(text)


@dataclass(frozen=True)
class ResNetConfig(AgesConfig):
    """Train a ResNet through fastai: its head first, then all layers at lower rates.

    Starts from ImageNet weights unless --init says otherwise. Fills a run folder, as
    `agecli train cnn` does; --lr auto adds lr_find.png.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "--amp",
        "--arch resnet18 --init none --image-size 112 --lr auto",
        "--init resnet34-b627a593.pth --freeze-epochs 2 --epochs 10",
        "--resume runs/resnet",
    )
    tune_examples: ClassVar[tuple[str, ...]] = ("--arch resnet18 --image-size 96 --epochs 5",)
    smallest: ClassVar[int] = 32
    smallest_batch: ClassVar[int] = 2  # batch norm behind the pooling knows no single image
    lowest_lr: ClassVar[float] = 0

    model: NoOption[str] = "resnet"
    arch: Annotated[Arch, Option("Model")] = "resnet34"
    """Depth of the network."""
    init: Annotated[str, Option("Model", "imagenet|none|PATH")] = "imagenet"
    """What the body starts from: torchvision's ImageNet weights, nothing, a state dict (.pth,
    .safetensors), or a run or released model of ours."""
    freeze_epochs: Annotated[int | None, Option("Optimisation")] = None
    """Epochs of the head alone, before all layers; by default 1, or 0 with --init none."""
    epochs: int = 20
    lr: Annotated[float, Option(metavar="RATE|auto", parser=read_rate)] = 2e-3
    """Highest learning rate; auto: fastai's lr_find chooses it.

    In a file, 0 is auto.
    """
    rate_ratio: Annotated[float, Option("Optimisation")] = 100.0
    """Rate of the head over that of a pre-trained body's first layers."""
    weight_decay: Annotated[float, Option("Optimisation")] = 0.01
    schedule: NoOption[Literal["onecycle"]] = "onecycle"
    dropout: Annotated[float, Option("Model")] = 0.5
    """Dropout of the head: in front of its last layer, half of it in front of the hidden one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, freeze_epochs=(0, 10_000), rate_ratio=(1, 1e6))

    @property
    def frozen_epochs(self) -> int:
        """Count the epochs that train the head alone."""
        if self.freeze_epochs is None:
            return 0 if self.init == "none" else 1
        return self.freeze_epochs

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings; its outputs come on top."""
        return {"arch": self.arch, "dropout": self.dropout}

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
        space = super().space()
        del space["schedule"]
        if self.init == "none":
            return space
        return space | {"freeze_epochs": Int(0, 3), "rate_ratio": Float(3, 300, log=True)}


SCRATCH = "scratch:tiny"
"""The backbone that is no download, but a small model of the DINOv2 architecture, all trained."""


@dataclass(frozen=True)
class Dinov2Config(AgesConfig):
    """Train a head on DINOv2: the frozen backbone sees each image once.

    Eight heads are trained at once on its features, at rates around --lr and decays from
    --weight-decay on, and the best on validation is kept. --unfreeze goes on with the last blocks.
    For the heads alone, --batch-size is that of the backbone's one pass, and --schedule, --ema,
    --accumulate, --grad-checkpoint, --layer-decay and --drop-path count for nothing.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "--amp",
        "--backbone facebook/dinov2-with-registers-small --views 4",
        "--unfreeze 2 --grad-checkpoint",
        "--backbone scratch:tiny --teacher cnn --lr 4e-4",
    )
    tune_examples: ClassVar[tuple[str, ...]] = (
        "--trials 40",
        "--backbone scratch:tiny --epochs 20 --workers 2",
    )
    smallest: ClassVar[int] = 0

    model: NoOption[str] = "dinov2"
    backbone: Annotated[str, Option("Model", "ID|DIR|scratch:tiny")] = "facebook/dinov2-small"
    """DINOv2 backbone: a hub id, a local folder, or a small one that is trained whole."""
    revision: NoOption[str] = ""
    """The backbone's commit on the hub, or the hash of the folder's weights; found and recorded."""
    image_size: int = 0
    """Side of the model's input in pixels; 0 = the backbone's own."""
    pool: Annotated[Pool, Option("Model")] = "cls+mean"
    """What the head sees: [CLS] token, mean of patch tokens, or both."""
    hidden: Annotated[int, Option("Model")] = 0
    """Width of a hidden layer in the head; 0 = none."""
    views: Annotated[int, Option("Augmentation")] = 1
    """Views of each training image: 1 = plain, more = augmented ones too."""
    unfreeze: Annotated[int, Option("Optimisation", "N")] = 0
    """Train the last N blocks too, after the head, at a tenth of its rate."""
    layer_decay: Annotated[float, Option("Optimisation")] = 0.75
    """Rate of a block, as a share of the one behind it (--unfreeze)."""
    drop_path: Annotated[float, Option("Model")] = 0.1
    """Stochastic depth of scratch:tiny."""
    init: Weights = "none"
    """Weights to begin with: a file, a run, or a released model; none is from scratch."""
    epochs: int = 30
    dropout: Annotated[float, Option("Model")] = 0.1
    augment: Annotated[Augment, Option("Augmentation")] = "wild"
    weight_decay: Annotated[float, Option("Optimisation")] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(
            self, hidden=(0, 8192), views=(1, 64), unfreeze=(0, 1000), layer_decay=(0.01, 1),
            drop_path=(0, 0.9),
        )  # fmt: skip
        if self.image_size and self.image_size < 16:
            raise UsageError(f"--image-size: {self.image_size} is not between 16 and 1024")
        if self.backbone.startswith("scratch:") and not self.from_scratch:
            raise UsageError(f"--backbone: {self.backbone!r} is unknown, there is {SCRATCH}")
        if self.from_scratch and (self.unfreeze or self.views > 1):
            raise UsageError(f"--backbone {SCRATCH} is trained whole: no --unfreeze, no --views")
        if self.teacher and not self.from_scratch:
            raise UsageError(
                f"--teacher is for --backbone {SCRATCH}: heads see features, and no images that it "
                "could answer; give its answers as --soft-labels"
            )
        if self.init != "none" and not self.from_scratch:
            raise UsageError(f"--init is for --backbone {SCRATCH}: others are pre-trained")

    @property
    def from_scratch(self) -> bool:
        """Return whether all of the model is trained, and nothing of it was before."""
        return self.backbone == SCRATCH

    @property
    def trains_backbone(self) -> bool:
        """Return whether more than the head is trained."""
        return self.from_scratch or self.unfreeze > 0

    @property
    def title(self) -> str:
        """The model's name; one that was never pre-trained is called so."""
        return "DINOv2 architecture, from scratch" if self.from_scratch else self.model

    @property
    def averages(self) -> bool:
        """Return whether a moving average of the weights is kept; heads alone need none."""
        return super().averages and self.trains_backbone

    def architecture(self) -> dict[str, Any]:
        """Return the constructor arguments that are settings; the backbone's come on top."""
        return {"pool": self.pool, "dropout": self.dropout, "hidden": self.hidden}

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
        space = super().space() | {"pool": Choice(get_args(Pool)), "hidden": Choice((0, 128, 512))}
        if self.unfreeze:
            space["layer_decay"] = Float(0.5, 1.0)
        if self.from_scratch:
            space["drop_path"] = Float(0.0, 0.3)
        if not self.trains_backbone:  # heads have their own batches and schedule
            del space["batch_size"], space["schedule"]
            if self.views == 1:
                del space["augment"]
        return _for_weights(self.init, space, "objective", "pool", "hidden")


def _for_weights(init: str, space: Space, *shaping: str) -> Space:
    """Leave out of a space what shapes a model, where there are weights that it has to fit."""
    return {name: it for name, it in space.items() if init == "none" or name not in shaping}


CONFIGS: dict[str, type[TrainConfig]] = {
    "cnn": CnnConfig,
    "capsnet": CapsNetConfig,
    "resnet": ResNetConfig,
    "dinov2": Dinov2Config,
}
