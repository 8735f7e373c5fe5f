"""Every default, once: its value, its meaning and its check."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from agecli.errors import UsageError

DETECTOR = "dlib-hog"
FACE_MARGIN = 0.066
"""What a crop shows beyond the detector's box on each side, in box sides, as UTKFace's chips do."""

FLIP = False
"""Whether a face's answer is averaged with its mirror image's.

Twice the time, and of no use to a model that was trained on mirrored images: cnn, on validation,
74.1 % exact with it and 74.4 % without.
"""

MOST_ACCUMULATED = 4096
"""Batches per optimiser step at most."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Conflicts = Literal["keep", "drop"]
Objective = Literal["groups", "ages", "both"]
Stem = Literal["strided", "classic"]
Schedule = Literal["plateau", "onecycle", "cosine"]
Balance = Literal["none", "sqrt", "full"]
Augment = Literal["light", "strong"]
Arch = Literal["resnet18", "resnet34", "resnet50"]
Pool = Literal["cls", "mean", "cls+mean"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Fallback = Literal["none", "centre"]


def _check_range(config: Any, **ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag}: {value} is not between {low:g} and {high:g}")


def _check_choice(config: Any, **choices: Any) -> None:
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value not in get_args(allowed):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag}: {value!r} is not one of {', '.join(get_args(allowed))}")


@dataclass(frozen=True)
class PrepareConfig:
    """How a data set is prepared."""

    scheme: str = "adience8"
    """Age groups by which the split is stratified."""
    size: int = 200
    """Side of the stored images in pixels; UTKFace's own, so that nothing is resampled twice."""
    seed: int = 0
    """Decides the split, together with the images' content."""
    conflicts: Conflicts = "drop"
    """What happens to training images whose copies carry ages more than 5 years apart."""

    def __post_init__(self) -> None:
        from agecli.ages import Scheme  # here, since it loads numpy, which no --help needs

        Scheme.parse(self.scheme)
        _check_range(self, size=(16, 1024), seed=(0, 2**31))
        _check_choice(self, conflicts=Conflicts)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained: what every model has; its own is in the classes below."""

    smallest: ClassVar[int] = 16
    """Least side of the images that the model can take."""
    smallest_batch: ClassVar[int] = 1
    lowest_lr: ClassVar[float] = 1e-8

    model: str = ""
    data: str = "data/utkface"
    """Prepared data set."""
    image_size: int = 224
    """Side of the images the model sees, in pixels."""
    objective: str = ""
    epochs: int = 36
    batch_size: int = 64
    """Images per optimiser step and process, before --accumulate."""
    accumulate: int = 1
    """Batches whose gradients are summed up before each optimiser step."""
    lr: float = 1e-3
    """Highest learning rate."""
    weight_decay: float = 0.02
    """Decoupled weight decay (AdamW, Loshchilov and Hutter 2019)."""
    schedule: Schedule = "onecycle"
    dropout: float = 0.25
    augment: Augment = "light"
    """light: rotate, scale, shift and mirror; strong: change the colours and erase a part, too."""
    balance: Balance = "none"
    """Weight of rare groups in the loss: equal images (none), equal groups (full), between."""
    ema: float = 0.998
    """Decay of the moving average of weights per step; 0 turns it off."""
    patience: int = 8
    """Epochs without a better validation loss before training stops."""
    amp: bool = False
    """Mixed precision: bf16 where the device has it, fp16 with gradient scaling otherwise."""
    grad_checkpoint: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    vram_budget: str = ""
    """Memory that training may take, as 4GB: batch size, accumulate, amp and grad_checkpoint are
    then chosen to stay inside, at the same effective batch."""
    seed: int = 0
    device: Device = "auto"
    workers: int = 1
    """Threads that gather batches ahead of the training."""
    limit: int = 0
    """Use only so many training images, and as many validation images; 0 means all."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Of the images that the model sees, values 0 to 1, per channel; a backbone brings its own."""
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # lists, where they come from config.json
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_range(
            self, image_size=(self.smallest, 1024), epochs=(1, 10_000),
            batch_size=(self.smallest_batch, 65_536),
            accumulate=(1, MOST_ACCUMULATED), lr=(self.lowest_lr, 10), weight_decay=(0, 10),
            dropout=(0, 0.95),
            ema=(0, 0.99999), patience=(1, 10_000), seed=(0, 2**31), workers=(1, 64),
            limit=(0, 10**9),
        )  # fmt: skip
        _check_choice(self, schedule=Schedule, augment=Augment, balance=Balance, device=Device)
        self.budget_bytes()

    def budget_bytes(self) -> int:
        """Give the bytes of vram_budget, 0 for none: GB are 10⁹ and GiB 2³⁰ bytes."""
        if not self.vram_budget:
            return 0
        units = {"mb": 10**6, "gb": 10**9, "mib": 2**20, "gib": 2**30}
        match = re.fullmatch(
            r"(\d{1,6}(?:\.\d{1,6})?)\s*([mg]i?b)", self.vram_budget.strip().lower()
        )
        size = int(float(match[1]) * units[match[2]]) if match else 0
        if not size:
            raise UsageError(
                f"--vram-budget: {self.vram_budget!r} is not an amount of memory such as 4GB or "
                "900MiB"
            )
        return size

    @property
    def title(self) -> str:
        """The model's name, or what it is in truth."""
        return self.model

    @property
    def averages(self) -> bool:
        """Tell whether a moving average of the weights is kept."""
        return self.ema > 0

    def architecture(self) -> dict[str, Any]:
        """Give the model's constructor arguments that are settings; its outputs come on top."""
        return {"image_size": self.image_size, "dropout": self.dropout}


@dataclass(frozen=True)
class AgesConfig(TrainConfig):
    """What the models share that learn groups, years, or both."""

    objective: Objective = "both"
    """groups: cross-entropy over groups; ages: over a distribution of years, on all images; both:
    the sum of the two on one output over years."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all groups (groups part only)."""
    label_width: float = 1.0
    """Width of the age distribution, as a factor of 0.6 + 0.06 · age years."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(self, label_smoothing=(0, 0.9), label_width=(0.1, 10))
        _check_choice(self, objective=Objective)


@dataclass(frozen=True)
class CnnConfig(AgesConfig):
    """How the cnn is trained."""

    model: str = "cnn"


@dataclass(frozen=True)
class CapsNetConfig(TrainConfig):
    """How the capsnet is trained."""

    smallest: ClassVar[int] = 32

    model: str = "capsnet"
    objective: Literal["margin"] = "margin"
    """Margin loss on the lengths of the group capsules, on images that have a group."""
    epochs: int = 30
    lr: float = 3e-3
    dropout: float = 0.1
    stem: Stem = "strided"
    """strided: double convolutions that halve the side; classic: the paper's two 9×9 ones."""
    routing_iters: int = 3
    share: bool = True
    """One set of transformation matrices for all positions, instead of one each."""
    reconstruction: bool = False
    """Reconstruct the picture from the true group's capsule, as a regulariser."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(self, routing_iters=(1, 20))
        _check_choice(self, stem=Stem)

    def architecture(self) -> dict[str, Any]:
        """Give the model's constructor arguments that are settings; its outputs come on top."""
        own = ("stem", "routing_iters", "share", "reconstruction")
        return super().architecture() | {name: getattr(self, name) for name in own}


@dataclass(frozen=True)
class ResNetConfig(AgesConfig):
    """How the resnet is trained: its head first, then all layers, by one-cycle each."""

    smallest: ClassVar[int] = 32
    smallest_batch: ClassVar[int] = 2  # batch norm behind the pooling knows no single image
    lowest_lr: ClassVar[float] = 0

    model: str = "resnet"
    arch: Arch = "resnet34"
    init: str = "imagenet"
    """imagenet: torchvision's weights; none: from scratch; or a file with a state dict."""
    freeze_epochs: int | None = None
    """Epochs that train the head alone, before all layers; None is 1, or 0 from scratch."""
    epochs: int = 20
    lr: float = 2e-3
    """Highest learning rate; 0 has fastai's lr_find choose it."""
    weight_decay: float = 0.01
    schedule: Literal["onecycle"] = "onecycle"
    dropout: float = 0.5
    """In front of the last layer, and half of it in front of the hidden one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(self, freeze_epochs=(0, 10_000))
        _check_choice(self, arch=Arch, schedule=Literal["onecycle"])

    @property
    def frozen_epochs(self) -> int:
        """Count the epochs that train the head alone."""
        if self.freeze_epochs is None:
            return 0 if self.init == "none" else 1
        return self.freeze_epochs

    def architecture(self) -> dict[str, Any]:
        """Give the model's constructor arguments that are settings; its outputs come on top."""
        return {"arch": self.arch, "dropout": self.dropout}


SCRATCH = "scratch:tiny"
"""The backbone that is no download, but a small model of the DINOv2 architecture, all trained."""


@dataclass(frozen=True)
class Dinov2Config(AgesConfig):
    """How the dinov2 is trained: a head on a frozen backbone, unless more is asked for."""

    smallest: ClassVar[int] = 0

    model: str = "dinov2"
    backbone: str = "facebook/dinov2-small"
    """A hub id, a local folder, or scratch:tiny."""
    revision: str = ""
    """The backbone's commit on the hub, or the hash of the folder's weights; found and recorded."""
    image_size: int = 0
    """Side of the images the model sees, in pixels; 0 is the backbone's own."""
    pool: Pool = "cls+mean"
    """What the head sees: the [CLS] token, the mean of the patch tokens, or both."""
    views: int = 1
    """Views of each training image that heads learn from: the first plain, the others augmented."""
    unfreeze: int = 0
    """Last blocks of the backbone that are trained too, after the head, at a tenth of its rate."""
    layer_decay: float = 0.75
    """Learning rate of a block, as a share of the rate of the one behind it."""
    drop_path: float = 0.1
    """Stochastic depth of scratch:tiny."""
    teacher: str = ""
    """Weights whose answers scratch:tiny learns, beside the labels."""
    epochs: int = 30
    dropout: float = 0.1
    augment: Augment = "strong"
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(
            self, views=(1, 64), unfreeze=(0, 1000), layer_decay=(0.01, 1), drop_path=(0, 0.9)
        )
        _check_choice(self, pool=Pool)
        if self.image_size and self.image_size < 16:
            raise UsageError(f"--image-size: {self.image_size} is not between 16 and 1024")
        if self.backbone.startswith("scratch:") and not self.from_scratch:
            raise UsageError(f"--backbone: {self.backbone!r} is unknown, there is {SCRATCH}")
        if self.from_scratch and (self.unfreeze or self.views > 1):
            raise UsageError(f"--backbone {SCRATCH} is trained whole: no --unfreeze, no --views")
        if self.teacher and not self.from_scratch:
            raise UsageError(f"--teacher is for --backbone {SCRATCH}")

    @property
    def from_scratch(self) -> bool:
        """Tell whether all of the model is trained, from a random start."""
        return self.backbone == SCRATCH

    @property
    def trains_backbone(self) -> bool:
        """Tell whether more than the head is trained."""
        return self.from_scratch or self.unfreeze > 0

    @property
    def title(self) -> str:
        """The model's name; one that was never pre-trained is called so."""
        return "DINOv2 architecture, from scratch" if self.from_scratch else self.model

    @property
    def averages(self) -> bool:
        """Tell whether a moving average of the weights is kept; heads alone need none."""
        return super().averages and self.trains_backbone

    def architecture(self) -> dict[str, Any]:
        """Give the model's constructor arguments that are settings; the backbone's come on top."""
        return {"pool": self.pool, "dropout": self.dropout}


CONFIGS: dict[str, type[TrainConfig]] = {
    "cnn": CnnConfig,
    "capsnet": CapsNetConfig,
    "resnet": ResNetConfig,
    "dinov2": Dinov2Config,
}


def read_config(values: dict[str, Any]) -> TrainConfig:
    """Rebuild a configuration from a run's config.json; unknown settings raise UsageError."""
    config = CONFIGS.get(values.get("model", ""))
    if config is None:
        raise UsageError(f"config.json has the model {values.get('model')!r}: upgrade agecli")
    known = {f.name for f in fields(config)}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"config.json has unknown settings: {', '.join(unknown)}")
    return config(**values)
