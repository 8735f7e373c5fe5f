"""Settings of each model's training, with their meanings and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from agecli.config.base import AgesConfig, Arch, Augment, Pool, Stem, TrainConfig
from agecli.config.fields import DLIB, NoOption, Option, Weights, check_range, is_dlib
from agecli.config.space import Choice, Float, Int, Space
from agecli.errors import UsageError


@dataclass(frozen=True)
class CnnConfig(AgesConfig):
    """Train the convolutional network: four conv blocks, two dropouts, FC 512.

    Writes a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume continues exactly.
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
    """Initial weights: a file, a run, or a released model; none trains from scratch."""

    def space(self) -> Space:
        """Return the search space, given the other settings."""
        return _for_weights(self.init, super().space(), "objective")


@dataclass(frozen=True)
class CapsNetConfig(TrainConfig):
    """Train the capsule network: one capsule per age group, by dynamic routing.

    Writes a run folder: best.safetensors (the weights file), metrics.jsonl, config.json, log.txt
    and last/, from which --resume continues exactly.
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
    """Initial weights: a file, a run, or a released model; none trains from scratch."""
    epochs: int = 30
    lr: float = 3e-3
    dropout: Annotated[float, Option("Model")] = 0.1
    stem: Annotated[Stem, Option("Model")] = "strided"
    """Strided convolutions with batch norm, the paper's two 9×9 ones, or the first 27 of dlib's
    network for face recognition, which --init FILE.dat starts from dlib's weights."""
    routing_iters: Annotated[int, Option("Model")] = 3
    """Iterations of dynamic routing."""
    primary_dim: Annotated[int, Option("Model")] = 8
    """Dimension of a primary capsule."""
    group_dim: Annotated[int, Option("Model")] = 16
    """Dimension of a group capsule."""
    share: Annotated[bool, Option("Model")] = True
    """Share the capsules' transformation matrices between positions."""
    reconstruction: Annotated[bool, Option("Model", negated=False)] = False
    """Reconstruct the image from its group's capsule, as a regulariser."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, routing_iters=(1, 20), primary_dim=(2, 64), group_dim=(2, 128))
        if self.stem == DLIB:
            check_range(self, image_size=(55, 1024))
        elif is_dlib(self.init):
            raise UsageError(f"--init: {self.init} is for dlib's network: add --stem dlib29")

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings, without its outputs."""
        own = ("stem", "routing_iters", "primary_dim", "group_dim", "share", "reconstruction")
        return super().architecture() | {name: getattr(self, name) for name in own}

    def space(self) -> Space:
        """Return the search space, given the other settings."""
        own: Space = {
            "lr": Float(1e-3, 2e-2, log=True),
            "routing_iters": Int(1, 5),
            "primary_dim": Choice((4, 8, 16)),
            "group_dim": Choice((8, 16, 32)),
        }
        return _for_weights(self.init, super().space() | own, "primary_dim", "group_dim")


def read_rate(text: str) -> float:
    """Parse a learning rate: 0 for auto. Raises ValueError if it is not a number."""
    return 0.0 if text == "auto" else float(text)


@dataclass(frozen=True)
class ResNetConfig(AgesConfig):
    """Train a ResNet with fastai: its head first, then all layers at lower learning rates.

    Starts from ImageNet weights unless --init says otherwise. Writes a run folder, like
    `agecli train cnn`; --lr auto adds lr_find.png.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "--amp",
        "--arch resnet18 --init none --image-size 112 --lr auto",
        "--init resnet34-b627a593.pth --freeze-epochs 2 --epochs 10",
        "--arch dlib29 --init dlib_face_recognition_resnet_model_v1.dat --image-size 150",
        "--resume runs/resnet",
    )
    tune_examples: ClassVar[tuple[str, ...]] = ("--arch resnet18 --image-size 96 --epochs 5",)
    smallest: ClassVar[int] = 32
    smallest_batch: ClassVar[int] = 2  # batch norm after the pooling needs two images
    lowest_lr: ClassVar[float] = 0

    model: NoOption[str] = "resnet"
    arch: Annotated[Arch, Option("Model")] = "resnet34"
    """Network: 18 to 50 layers as torchvision has them, or dlib's 29 for face recognition."""
    init: Annotated[str, Option("Model", "imagenet|none|PATH")] = "imagenet"
    """Initial weights of the body: torchvision's ImageNet weights, none, a state dict (.pth,
    .safetensors), dlib's .dat file, or a run or released model of ours."""
    freeze_epochs: Annotated[int | None, Option("Optimisation")] = None
    """Epochs that train only the head, before all layers; by default 1, or 0 with --init none."""
    epochs: int = 20
    lr: Annotated[float, Option(metavar="RATE|auto", parser=read_rate)] = 2e-3
    """Highest learning rate; auto: fastai's lr_find chooses it.

    In a file, 0 is auto.
    """
    rate_ratio: Annotated[float, Option("Optimisation")] = 100.0
    """Learning rate of the head, relative to that of a pre-trained body's first layers."""
    weight_decay: Annotated[float, Option("Optimisation")] = 0.01
    schedule: NoOption[Literal["onecycle"]] = "onecycle"
    dropout: Annotated[float, Option("Model")] = 0.5
    """Dropout of the head: before its last layer, and half of it before the hidden one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, freeze_epochs=(0, 10_000), rate_ratio=(1, 1e6))
        if self.arch == DLIB:
            check_range(self, image_size=(103, 1024))  # each convolution without padding shrinks it
        elif is_dlib(self.init):
            raise UsageError(f"--init: {self.init} is for dlib's network: add --arch dlib29")

    @property
    def frozen_epochs(self) -> int:
        """Return the number of epochs that train only the head."""
        if self.freeze_epochs is None:
            return 0 if self.init == "none" else 1
        return self.freeze_epochs

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings, without its outputs."""
        return {"arch": self.arch, "dropout": self.dropout}

    def space(self) -> Space:
        """Return the search space, given the other settings."""
        space = super().space()
        del space["schedule"]
        if self.init == "none":
            return space
        return space | {"freeze_epochs": Int(0, 3), "rate_ratio": Float(3, 300, log=True)}


SCRATCH = "scratch:tiny"
"""The backbone that is not downloaded: a small DINOv2 architecture, trained from scratch."""


@dataclass(frozen=True)
class Dinov2Config(AgesConfig):
    """Train a head on DINOv2: the frozen backbone sees each image once.

    Eight heads are trained at once on its features, at learning rates around --lr and decays from
    --weight-decay up, and the best on validation is kept. --unfreeze then trains the last blocks.
    For heads alone, --batch-size is that of the backbone's single pass, and --schedule, --ema,
    --accumulate, --grad-checkpoint, --layer-decay and --drop-path have no effect.
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
    """DINOv2 backbone: a hub id, a local folder, or scratch:tiny, trained from scratch."""
    revision: NoOption[str] = ""
    """The backbone's commit on the hub, or the hash of the folder's weights; recorded."""
    image_size: int = 0
    """Side of the model's input in pixels; 0 = the backbone's own."""
    pool: Annotated[Pool, Option("Model")] = "cls+mean"
    """Input of the head: [CLS] token, mean of patch tokens, or both."""
    hidden: Annotated[int, Option("Model")] = 0
    """Width of a hidden layer in the head; 0 = none."""
    views: Annotated[int, Option("Augmentation")] = 1
    """Views of each training image: 1 = plain, more = augmented ones too."""
    unfreeze: Annotated[int, Option("Optimisation", "N")] = 0
    """Also train the last N blocks, after the head, at a tenth of its learning rate."""
    layer_decay: Annotated[float, Option("Optimisation")] = 0.75
    """Learning rate of a block, relative to the next one (--unfreeze)."""
    drop_path: Annotated[float, Option("Model")] = 0.1
    """Stochastic depth of scratch:tiny."""
    init: Weights = "none"
    """Initial weights: a file, a run, or a released model; none trains from scratch."""
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
            raise UsageError(f"--backbone: {self.backbone!r} is unknown: use {SCRATCH}")
        if self.from_scratch and (self.unfreeze or self.views > 1):
            raise UsageError(f"--backbone {SCRATCH} excludes --unfreeze and --views")
        if self.teacher and not self.from_scratch:
            raise UsageError(
                f"--teacher is for --backbone {SCRATCH}: heads see features, not the images that a "
                "teacher needs; pass its predictions as --soft-labels"
            )
        if self.init != "none" and not self.from_scratch:
            raise UsageError(f"--init is for --backbone {SCRATCH}: others are pre-trained")

    @property
    def from_scratch(self) -> bool:
        """Return whether all of the model is trained from random weights."""
        return self.backbone == SCRATCH

    @property
    def trains_backbone(self) -> bool:
        """Return whether more than the head is trained."""
        return self.from_scratch or self.unfreeze > 0

    @property
    def title(self) -> str:
        """Return the model's name, saying so if it was never pre-trained."""
        return "DINOv2 architecture, from scratch" if self.from_scratch else self.model

    @property
    def averages(self) -> bool:
        """Return whether a moving average of the weights is kept; heads alone need none."""
        return super().averages and self.trains_backbone

    def architecture(self) -> dict[str, Any]:
        """Return the constructor arguments that are settings, without the backbone's."""
        return {"pool": self.pool, "dropout": self.dropout, "hidden": self.hidden}

    def space(self) -> Space:
        """Return the search space, given the other settings."""
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
    """Remove settings that shape a model from a space, if there are initial weights."""
    return {name: it for name, it in space.items() if init == "none" or name not in shaping}


CONFIGS: dict[str, type[TrainConfig]] = {
    "cnn": CnnConfig,
    "capsnet": CapsNetConfig,
    "resnet": ResNetConfig,
    "dinov2": Dinov2Config,
}
