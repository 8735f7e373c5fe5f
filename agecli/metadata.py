"""Metadata of weights files: its fields, their bounds, and their consistency."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Required, TypedDict

from msgspec import Meta

from agecli import __version__
from agecli.ages import Labels, Scheme, knows_years, outputs_of
from agecli.config import CONFIGS, configure
from agecli.decision import LIKELIEST, Decision, check_decision
from agecli.errors import UsageError
from agecli.models.backbone import check_backbone
from agecli.reading import convert, decode
from agecli.registry import MODELS
from agecli.sets import Sets, check_sets

FORMAT = 1
MOST_TRAININGS = 100
"""Most trainings in sequence, each starting from the weights of the one before."""
BUILT_IN = ("outputs", "backbone")
"""Keys of an architecture that are not settings."""

Text = Annotated[str, Meta(max_length=1000, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Interval = Annotated[list[float], Meta(min_length=2, max_length=2)]
Means = Annotated[list[Annotated[float, Meta(ge=-100, le=100)]], Meta(min_length=3, max_length=3)]
Stds = Annotated[list[Annotated[float, Meta(ge=1e-4, le=1e4)]], Meta(min_length=3, max_length=3)]


class Crop(TypedDict, total=False):
    """How a detected face is cropped."""

    detector: Text
    margin: Annotated[float, Meta(ge=-0.4, le=4)]
    """Margin on each side, in box sides."""


class Origin(TypedDict):
    """A backbone that the file does not contain."""

    id: Text
    """Hub id, or a folder."""
    revision: Text


class _Group(TypedDict):
    n: Count
    precision: float
    recall: float
    f1: float


class _Slice(TypedDict, total=False):
    by: Required[Text]
    value: Required[Text]
    n: Required[Count]
    exact: Required[float | None]
    interval: Interval | None
    one_off: float | None
    bias: float | None


class _Robustness(TypedDict, total=False):
    n: Required[Count]
    exact: Required[dict[Text, dict[Text, float]]]
    coverage: dict[Text, dict[Text, float]]
    """Coverage of the age sets; absent in earlier versions and for models without sets."""


class _Figures(TypedDict, total=False):
    """Metrics of an evaluated file; later versions may add others."""

    n: Required[Count]
    exact: Required[float]
    exact_interval: Required[Interval]
    one_off: Required[float]
    macro_f1: Required[float]
    majority: Required[float]
    majority_group: Required[Text]
    per_group: dict[Text, _Group]
    confusion: list[list[Count]]
    slices: list[_Slice]
    robustness: _Robustness
    kappa: float
    ece: float
    nearest: float
    n_ages: Count
    mae: float
    cs5: float


class _Training(TypedDict, total=False):
    """How a file was trained; later versions may add other fields."""

    data: list[Text]
    train_images: Count
    init: Text
    best_epoch: Count
    device: Text
    epochs: Count
    seconds: Annotated[float, Meta(ge=0)]
    config: dict[str, Any]
    before: dict[str, Any] | None


@dataclass(frozen=True)
class Metadata:
    """The metadata of a weights file, stored as JSON under the header key `agecli`."""

    model: Text
    architecture: dict[str, Any]
    """Keyword arguments that rebuild the model."""
    objective: Annotated[str, Meta(pattern=r"\A(groups|ages|both|margin)\Z")]
    """`groups`: outputs are age groups; `ages` and `both`: outputs are the years 0-100."""
    scheme: Labels
    """Labels of the age groups, young to old."""
    image_size: Annotated[int, Meta(ge=16, le=1024)]
    mean: Means
    std: Stds
    crop: Crop
    """How a detected face is cropped: detector, and margin on each side in box sides."""
    temperature: Annotated[float, Meta(ge=1e-3, le=1e3)] = 1.0
    decision: Decision = LIKELIEST
    """The decision rule for the predicted group."""
    sets: Sets | None = None
    """Thresholds of the age sets; None in files from earlier versions."""
    split_hash: Text = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics on the test split, with n; empty until evaluated."""
    training: dict[str, Any] = field(default_factory=dict)
    fingerprints: Annotated[int, Meta(ge=0, le=10**6)] = 0
    """Version of the fingerprints of all images that it has seen; 0 if the file has none."""
    backbone: Origin | None = None
    """Id (or folder) and revision of the backbone, if its weights are not in the file."""
    title: Text = ""
    """The model's name, or a more precise one: a DINOv2 may never have been pre-trained."""
    licence: Text = "research use only: trained on UTKFace"
    agecli_version: Text = __version__
    format: int = FORMAT

    @property
    def knows_years(self) -> bool:
        """Return whether the outputs are years rather than age groups."""
        return knows_years(self.objective)

    @property
    def described(self) -> str:
        """Return a short description of the model: "CNN, four conv blocks", "resnet18"."""
        if self.title and self.title != self.model:
            return self.title
        return str(self.architecture.get("arch") or MODELS[self.model].title)


class Newer(ValueError):
    """The file is from a later agecli, and this one cannot read it."""


def read_metadata_text(text: str) -> Metadata:
    """Parse a weights file's JSON, from this version or an earlier one.

    Raises Newer for a later format or an unknown model, ValueError, in a few words, for invalid
    values: a wrong type, a size out of bounds, an architecture that does not fit the rest.
    """
    known = decode(text, _Known)
    if known.format > FORMAT:
        raise Newer(f"has format {known.format}, newer than this agecli reads ({FORMAT})")
    if known.model not in MODELS:
        raise Newer(
            f"contains the model {known.model!r}, which this agecli does not know "
            f"({', '.join(MODELS)})"
        )
    return _check(decode(text, Metadata))


@dataclass(frozen=True)
class _Known:
    """The fields that determine whether the rest can be read."""

    model: Text
    format: int


def _check(metadata: Metadata) -> Metadata:
    """Raise ValueError for contradictions; drop settings that do not shape the network."""
    _check_figures(metadata.metrics, metadata.training)
    try:
        scheme = Scheme.parse(metadata.scheme)
    except UsageError as error:
        raise ValueError(str(error).removeprefix("--")) from error
    check_decision(metadata.decision, len(scheme))
    if metadata.sets:
        check_sets(metadata.sets, len(scheme), knows_years=metadata.knows_years)
    architecture = metadata.architecture
    settings = {name: value for name, value in architecture.items() if name not in BUILT_IN}
    known = {setting.name for setting in fields(CONFIGS[metadata.model])}
    if unknown := sorted(settings.keys() - known):
        raise ValueError(f"architecture: {metadata.model} has no {unknown[0]!r}")
    try:
        configure(metadata.model, **settings)
    except UsageError as error:
        raise ValueError(f"architecture: {str(error).removeprefix('--')}") from error
    outputs = outputs_of(metadata.objective, scheme)
    if architecture.get("outputs") != outputs:
        raise ValueError(
            f"architecture: {architecture.get('outputs')!r} outputs, where its objective and "
            f"scheme have {outputs}"
        )
    if architecture.get("image_size", metadata.image_size) != metadata.image_size:
        raise ValueError(f"architecture: another image_size than {metadata.image_size}")
    if ("backbone" in architecture) != hasattr(CONFIGS[metadata.model], "backbone"):
        raise ValueError("architecture: only a dinov2 has a backbone")
    if "backbone" in architecture:
        own = check_backbone(architecture["backbone"], metadata.image_size)
        return replace(metadata, architecture=architecture | {"backbone": own})
    return metadata


def _check_figures(metrics: dict[str, Any], training: dict[str, Any]) -> None:
    """Raise ValueError for invalid metrics or trainings."""
    if "exact" in metrics:
        convert(metrics, _Figures)
    elif "robustness" in metrics:
        convert(metrics["robustness"], _Robustness)
    each: dict[str, Any] | None = training
    for _ in range(MOST_TRAININGS):
        if not each:
            return
        told = convert(each, _Training)
        if "config" in told:
            if told["config"].get("model") not in list(CONFIGS):
                raise ValueError("training: its config has no model")
            if not {"data", "train_images", "device"} <= told.keys():
                raise ValueError("training: it has a config, but no data, train_images, device")
        each = told.get("before")
    raise ValueError(f"training: more than {MOST_TRAININGS}")
