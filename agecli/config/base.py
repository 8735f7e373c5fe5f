"""What all models share: every default, once, with its meaning and its check."""

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
"""What faces are cropped by; weights files name it."""
EARLIER_DETECTORS = frozenset({"dlib-hog"})
"""Weights that name one of these are answered by the present one: it crops alike."""
FACE_MARGIN = 0.066
"""What a crop shows beyond a face's box on each side, in box sides, as UTKFace's chips do."""

MIN_FACE_SCORE = 0.7
"""Below this score, 0 to 1, a detection is no face."""

FPS = 2.0
"""Frames looked at per second of a video, of which a face's answer is the mean."""

FLIP = False
"""Whether a face's answer is averaged with its mirror image's.

Twice the time, and of no use to a model that was trained on mirrored images: cnn, on validation,
74.1 % exact with it and 74.4 % without.
"""

PLACE = ("data", "device", "workers", "log_to")
"""Settings of a training that say where and not what: they may change while it goes on."""

MOST_ACCUMULATED = 4096
"""Batches per optimiser step at most."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Store = Literal["pixels", "compressed"]
Conflicts = Literal["keep", "drop"]
Objective = Literal["groups", "ages", "both"]
Stem = Literal["strided", "classic"]
Schedule = Literal["plateau", "onecycle", "cosine"]
Balance = Literal["none", "sqrt", "full"]
Augment = Literal["none", "light", "wild"]
Arch = Literal["resnet18", "resnet34", "resnet50"]
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
    """How images are kept: as pixels, which training reads as they are, or compressed as JPEG, in a
    twentieth of the disk, decoded by training's --workers."""
    seed: int = 0
    """Decides the split, together with the images' content."""
    conflicts: Conflicts = "drop"
    """What happens to training images whose copies carry ages more than 5 years apart."""
    folds: int = 0
    """Folds for cross-validation, beside the split; 0 = those that the data has, if any."""
    audit: int = 2
    """How near duplicates are found; 1 makes the splits of before grey and cropped copies were."""

    def __post_init__(self) -> None:
        from agecli.ages import Scheme  # here, since it loads numpy, which no --help needs

        Scheme.parse(self.scheme)
        check_types(self)
        check_range(self, size=(16, 1024), seed=(0, 2**31), folds=(0, 100), audit=(1, 2))
        if self.folds == 1:
            raise UsageError("--folds: one fold would be all: give 2 or more, or 0 for none")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained: what every model has; its own is in the classes below.

    A model's docstring is the help of its `agecli train`, and what stands under a setting that of
    its option.
    """

    examples: ClassVar[tuple[str, ...]] = ()
    """Options of `agecli train` that its help shows."""
    tune_examples: ClassVar[tuple[str, ...]] = ()
    """Options of `agecli tune` that its help shows."""
    smallest: ClassVar[int] = 16
    """Least side of the images that the model can take."""
    smallest_batch: ClassVar[int] = 1
    lowest_lr: ClassVar[float] = 1e-8

    model: NoOption[str] = ""
    data: Annotated[str, Option(metavar="DIR")] = "data/utkface"
    """Data set of `agecli prepare`."""
    fold: Annotated[int | None, Option("Data", "K")] = None
    """Fold to test on; the others train, and a tenth of them validates."""
    within_train: Annotated[bool, Option("Data", negated=False)] = False
    """With --fold: of the training split alone, for evaluate --out-of-fold to answer its images."""
    teacher: Weights = ""
    """A trained model whose answers are learned, beside the labels."""
    soft_labels: Annotated[str, Option("Data", "FILE")] = ""
    """A CSV file of distributions over years or groups, learned beside the labels: a row per id."""
    soft_labels_sha256: NoOption[str] = ""
    """That of the file; found and recorded, so that a resumed run learns from the same."""
    image_size: int = 224
    """Side of the model's input in pixels."""
    objective: str = ""
    epochs: int = 36
    """Maximum number of epochs."""
    batch_size: int = 64
    """Images per batch.

    Of each process; those of an optimiser step are `accumulate` times as many.
    """
    accumulate: Annotated[int, Option("Memory")] = 1
    """Batches per optimiser step, whose gradients are summed up."""
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
    """light: rotate, scale, shift, mirror; wild: also hair, soften, recolour, compress, erase."""
    balance: Annotated[Balance, Option("Data")] = "none"
    """Weight of rare groups in the loss: equal images (none), equal groups (full), between."""
    shares: Annotated[str, Option("Data", "SOURCE=SHARE,...")] = ""
    """Share of each source of the data set in what trains, as UTKFace=2,groups=1; by default all
    images as they come."""
    ema: Annotated[float, Option("Optimisation")] = 0.998
    """Decay of the moving average of weights, per step; 0 = none."""
    patience: Annotated[int, Option("Optimisation")] = 0
    """Epochs without a better validation loss before stopping; 0 = never.

    A one-cycle gains most at its end, and must not be judged by its high rates.
    """
    amp: Annotated[bool, Option(negated=False)] = False
    """Mixed precision: bf16, or fp16 where a GPU has no bf16."""
    grad_checkpoint: Annotated[bool, Option("Memory", negated=False)] = False
    """Recompute activations: less memory, about a third more time."""
    vram_budget: Annotated[str, Option("Memory", "SIZE")] = ""
    """Memory to stay inside, as 4GB: chooses --amp, --grad-checkpoint and smaller batches,
    accumulated to the same step."""
    seed: Annotated[int, Option("Run")] = 0
    """Seed of all randomness."""
    device: Device = "auto"
    """Where to run."""
    workers: Annotated[int, Option("Run")] = 1
    """Threads that gather batches ahead of the training."""
    log_to: Annotated[LogTo, Option("Run", "tensorboard|wandb|...")] = "none"
    """Send figures to tensorboard, in RUN, or to wandb, mlflow, trackio, comet_ml, aim, clearml,
    dvclive."""
    limit: Annotated[int, Option("Data")] = 0
    """Use only so many images of each split, for a trial; 0 = all."""
    mean: NoOption[tuple[float, ...]] = IMAGENET_MEAN
    """Of the images that the model sees, values 0 to 1, per channel; a backbone brings its own."""
    std: NoOption[tuple[float, ...]] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # lists, where they come from config.json
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
            raise UsageError("--within-train is for --fold: say which")
        if self.teacher and self.soft_labels:
            raise UsageError("--teacher and --soft-labels both stand beside the labels: give one")

    def source_shares(self) -> dict[str, float]:
        """Return the relative shares by source, none for images as they come.

        Raises UsageError for what are no shares.
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
                f"--shares: {brief(self.shares)!r} is not a share of each source, as "
                "UTKFace=2,groups=1"
            )
        return shares

    def budget_bytes(self) -> int:
        """Return the bytes of vram_budget, 0 for none: GB are 10⁹ and GiB 2³⁰ bytes.

        Raises UsageError for what is no amount of memory.
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
        """The model's name, or what it is in truth."""
        return self.model

    @property
    def averages(self) -> bool:
        """Return whether a moving average of the weights is kept."""
        return self.ema > 0

    def architecture(self) -> dict[str, Any]:
        """Return the model's constructor arguments that are settings; its outputs come on top."""
        return {"image_size": self.image_size, "dropout": self.dropout}

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
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
    """What the models share that learn groups, years, or both."""

    objective: Objective = "both"
    """Train on age groups, on a distribution over years (gap ages too), or on both.

    groups: cross-entropy over groups; ages: over a distribution of years, on all images; both: the
    sum of the two on one output over years.
    """
    label_smoothing: Annotated[float, Option("Optimisation")] = 0.0
    """Label smoothing: share of the target spread evenly over the groups."""
    label_width: Annotated[float, Option("Optimisation")] = 1.0
    """Width of the age distribution; 1 = 0.6 years and 6 % of the age."""
    range_weight: Annotated[float, Option("Data")] = 1.0
    """Weight of an image whose label is a range, beside one whose label is a year."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, label_smoothing=(0, 0.9), label_width=(0.1, 10), range_weight=(1e-3, 1e3))

    def space(self) -> Space:
        """Return what a search may change, where the other settings are these."""
        own: Space = {
            "objective": Choice(get_args(Objective)),
            "label_width": Float(0.5, 2.0, log=True),
        }
        return super().space() | own
