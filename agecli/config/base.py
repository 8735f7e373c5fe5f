"""Settings that all models share: every default, once, with its meaning and its check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from agecli.config.fields import (
    NoOption,
    Option,
    Weights,
    check_range,
    check_types,
    flag_of,
)
from agecli.config.space import Choice, Float, Space
from agecli.errors import UsageError, brief

DETECTOR = "yunet"
"""The detector by which faces are cropped, as named in weights files."""
EARLIER_DETECTORS = frozenset({"dlib-hog"})
"""Detectors of older weights files, replaced by the present one, which crops alike."""
FACE_MARGIN = 0.066
"""Margin of a crop on each side of a face's box, in box sides, as in UTKFace's chips."""

MIN_FACE_SCORE = 0.7
"""Detections with a lower score, 0 to 1, are dropped."""

FPS = 2.0
"""Frames per second of a video over which a face's prediction is averaged."""

FLIP = False
"""Whether a face's prediction is averaged with its mirror image's.

Twice the time, without gain for a model trained on mirrored images: cnn, on validation,
74.1 % exact with it and 74.4 % without.
"""

PLACE = ("data", "device", "workers", "log_to")
"""Settings of the machine rather than the training: they may change when a run is resumed."""

MOST_ACCUMULATED = 4096
"""Most batches per optimiser step."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Store = Literal["pixels", "compressed"]
Conflicts = Literal["keep", "drop"]
Objective = Literal["groups", "ages", "both"]
Stem = Literal["strided", "classic", "dlib29"]
Schedule = Literal["plateau", "onecycle", "cosine"]
Balance = Literal["none", "sqrt", "full"]
Augment = Literal["none", "light", "wild"]
Arch = Literal["resnet18", "resnet34", "resnet50", "dlib29"]
Pool = Literal["cls", "mean", "cls+mean"]
Device = Literal["auto", "cpu", "cuda", "mps"]
LogTo = Literal[
    "none", "tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "aim", "clearml", "dvclive"
]
Fallback = Literal["none", "centre"]
Align = Literal["none", "points"]
Metric = Literal["val_exact", "val_macro_f1", "val_loss"]
Pruner = Literal["hyperband", "median", "none"]


@dataclass(frozen=True)
class PrepareConfig:
    """How a data set is prepared."""

    scheme: str = "adience8"
    """Age groups by which the split is stratified."""
    size: int = 200
    """Side of the stored images in pixels; UTKFace's own, so that nothing is resampled twice."""
    store: Store = "pixels"
    """How images are stored: as pixels, which training reads directly, or as JPEG, in a
    twentieth of the space, decoded by training's --workers."""
    seed: int = 0
    """Seed of the split, which also depends on the images' content."""
    conflicts: Conflicts = "drop"
    """What to do with training images whose duplicates have ages more than 5 years apart."""
    folds: int = 0
    """Folds for cross-validation, beside the split; 0 = the data set's own, if any."""
    audit: int = 2
    """How near duplicates are found; 1 reproduces splits from before grey and cropped ones were."""

    def __post_init__(self) -> None:
        from agecli.ages import Scheme  # here, since it loads numpy, which no --help needs

        Scheme.parse(self.scheme)
        check_types(self)
        check_range(self, size=(16, 1024), seed=(0, 2**31), folds=(0, 100), audit=(1, 2))
        if self.folds == 1:
            raise UsageError("--folds: 1 is not a cross-validation: use 2 or more, or 0 for none")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained: the settings of every model; the classes below add their own.

    A model's docstring is the help of its `agecli train`, and a setting's docstring that of
    its option.
    """

    examples: ClassVar[tuple[str, ...]] = ()
    """Examples in the help of `agecli train`."""
    tune_examples: ClassVar[tuple[str, ...]] = ()
    """Examples in the help of `agecli tune`."""
    smallest: ClassVar[int] = 16
    """Smallest side of the images that the model accepts."""
    smallest_batch: ClassVar[int] = 1
    lowest_lr: ClassVar[float] = 1e-8

    model: NoOption[str] = ""
    data: Annotated[str, Option(metavar="DIR")] = "data/utkface"
    """Data set made by `agecli prepare`."""
    fold: Annotated[int | None, Option("Data", "K")] = None
    """Fold to test on; the others are for training, a tenth of them for validation."""
    within_train: Annotated[bool, Option("Data", negated=False)] = False
    """With --fold: use only the training split, as evaluate --out-of-fold requires."""
    teacher: Weights = ""
    """Trained model to distil: its predictions are learned beside the labels."""
    soft_labels: Annotated[str, Option("Data", "FILE")] = ""
    """CSV file of distributions over years or groups to learn beside the labels: a row per id."""
    soft_labels_sha256: NoOption[str] = ""
    """Hash of that file; recorded, so that a resumed run learns from the same one."""
    image_size: int = 224
    """Side of the model's input in pixels."""
    objective: str = ""
    epochs: int = 36
    """Maximum number of epochs."""
    batch_size: int = 64
    """Images per batch.

    Of each process; an optimiser step has `accumulate` times as many.
    """
    accumulate: Annotated[int, Option("Memory")] = 1
    """Batches per optimiser step, whose gradients are summed."""
    lr: float = 1e-3
    """Highest learning rate."""
    weight_decay: Annotated[float, Option("Optimisation")] = 0.02
    """AdamW weight decay.

    Decoupled (Loshchilov and Hutter 2019).
    """
    schedule: Annotated[Schedule, Option("Optimisation")] = "onecycle"
    """Learning-rate schedule."""
    dropout: Annotated[float, Option("Model")] = 0.25
    """Dropout of the head."""
    augment: Annotated[Augment, Option("Augmentation")] = "light"
    """light: rotate, scale, shift, mirror; wild: also hair, resolution, colour, JPEG, erasing."""
    balance: Annotated[Balance, Option("Data")] = "none"
    """Weight of rare groups in the loss: equal images (none) to equal groups (full)."""
    shares: Annotated[str, Option("Data", "SOURCE=SHARE,...")] = ""
    """Relative share of each source in training, e.g. UTKFace=2,groups=1; by default, every
    image once per epoch."""
    ema: Annotated[float, Option("Optimisation")] = 0.998
    """Decay of the moving average of weights, per step; 0 = no average."""
    patience: Annotated[int, Option("Optimisation")] = 0
    """Epochs without a lower validation loss before stopping; 0 = never stop.

    One-cycle gains most at its end, so its high rates must not trigger a stop.
    """
    amp: Annotated[bool, Option(negated=False)] = False
    """Mixed precision: bf16, or fp16 on GPUs without bf16."""
    grad_checkpoint: Annotated[bool, Option("Memory", negated=False)] = False
    """Gradient checkpointing: recompute activations, for less memory and a third more time."""
    vram_budget: Annotated[str, Option("Memory", "SIZE")] = ""
    """Memory budget, e.g. 4GB: chooses --amp, --grad-checkpoint and smaller batches,
    accumulated to the same effective batch."""
    seed: Annotated[int, Option("Run")] = 0
    """Random seed."""
    device: Device = "auto"
    """Device to run on."""
    workers: Annotated[int, Option("Run")] = 1
    """Threads that load batches ahead of training."""
    log_to: Annotated[LogTo, Option("Run", "tensorboard|wandb|...")] = "none"
    """Log figures to tensorboard, in RUN, or to wandb, mlflow, trackio, comet_ml, aim, clearml,
    dvclive."""
    limit: Annotated[int, Option("Data")] = 0
    """Most images to use of each split, for quick experiments; 0 = all."""
    mean: NoOption[tuple[float, ...]] = IMAGENET_MEAN
    """Mean of the model's input per channel, values 0 to 1; a backbone has its own."""
    std: NoOption[tuple[float, ...]] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # lists, if they come from config.json
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_types(self)
        for name, low, high in (("mean", -100, 100), ("std", 1e-4, 1e4)):
            values = getattr(self, name)
            if len(values) != 3 or not all(low <= value <= high for value in values):
                raise UsageError(f"{flag_of(name)}: needs 3 numbers from {low:g} to {high:g}")
        check_range(
            self, fold=(0, 10**9), image_size=(self.smallest, 1024), epochs=(1, 10_000),
            batch_size=(self.smallest_batch, 65_536), accumulate=(1, MOST_ACCUMULATED),
            lr=(self.lowest_lr, 10), weight_decay=(0, 10), dropout=(0, 0.95), ema=(0, 0.99999),
            patience=(0, 10_000), seed=(0, 2**31), workers=(1, 64), limit=(0, 10**9),
        )  # fmt: skip
        self.budget_bytes()
        self.source_shares()
        if self.within_train and self.fold is None:
            raise UsageError("--within-train needs --fold")
        if self.teacher and self.soft_labels:
            raise UsageError("--teacher and --soft-labels exclude each other: pass one")

    def source_shares(self) -> dict[str, float]:
        """Return the relative shares by source; empty for every image once.

        Raises UsageError for anything but shares.
        """
        parts = [part.rpartition("=") for part in self.shares.split(",") if self.shares]
        try:
            shares = {name.strip(): float(share) for name, _, share in parts}
        except ValueError:
            shares = {"": 0.0}
        known = len(shares) == len(parts) and "" not in shares
        sane = all(0 <= share <= 1e6 for share in shares.values())
        if not known or not sane or (shares and not any(shares.values())):
            raise UsageError(
                f"--shares: {brief(self.shares)!r} is not a share of each source, such as "
                "UTKFace=2,groups=1"
            )
        return shares

    def budget_bytes(self) -> int:
        """Return the bytes of vram_budget, 0 for none: GB are 10⁹ and GiB 2³⁰ bytes.

        Raises UsageError for anything but an amount of memory.
        """
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
        """Return the model's name, or a more precise one."""
        return self.model

    @property
    def averages(self) -> bool:
        """Return whether a moving average of the weights is kept."""
        return self.ema > 0

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings, without its outputs."""
        return {"image_size": self.image_size, "dropout": self.dropout}

    def space(self) -> Space:
        """Return the search space, given the other settings."""
        return {
            "lr": Float(3e-4, 5e-3, log=True),
            "weight_decay": Float(1e-3, 0.3, log=True),
            "dropout": Float(0.0, 0.5),
            "batch_size": Choice((32, 64, 128)),
            "schedule": Choice(get_args(Schedule)),
            "augment": Choice(get_args(Augment)),
        }


@dataclass(frozen=True)
class AgesConfig(TrainConfig):
    """Settings that models of groups, of years, or of both share."""

    objective: Objective = "both"
    """Learn age groups, a distribution over years (gap ages too), or both.

    groups: cross-entropy over groups; ages: over a distribution of years, on all images; both: the
    sum of the two on one output over years.
    """
    label_smoothing: Annotated[float, Option("Optimisation")] = 0.0
    """Label smoothing: share of the target spread evenly over the groups."""
    label_width: Annotated[float, Option("Optimisation")] = 1.0
    """Width of the target age distribution; 1 = 0.6 years plus 6 % of the age."""
    range_weight: Annotated[float, Option("Data")] = 1.0
    """Weight of an image labelled with a range, relative to one labelled with a year."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, label_smoothing=(0, 0.9), label_width=(0.1, 10), range_weight=(1e-3, 1e3))

    def space(self) -> Space:
        """Return the search space, given the other settings."""
        own: Space = {
            "objective": Choice(get_args(Objective)),
            "label_width": Float(0.5, 2.0, log=True),
        }
        return super().space() | own
