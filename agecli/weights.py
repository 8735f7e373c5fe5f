"""Weights files: one safetensors file that knows its model, preprocessing, data and results.

ONNX files of `agecli export` say the same of themselves.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agecli import __version__
from agecli.ages import knows_years
from agecli.errors import UsageError, WeightsError, pasteable
from agecli.files import write_bytes
from agecli.onnxfile import read_property
from agecli.registry import DEFAULT_MODEL, MODELS

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
KEY = "agecli"
ONNX = ".onnx"
SUFFIXES = (".safetensors", ONNX)


@dataclass(frozen=True)
class Metadata:
    """What a weights file says of itself, stored as JSON under the header key `agecli`."""

    model: str
    architecture: dict[str, Any]
    """Keyword arguments that rebuild the model."""
    objective: str
    """`groups`: outputs are age groups; `ages` and `both`: outputs are the years 0-100."""
    scheme: list[str]
    """Labels of the age groups, young to old."""
    image_size: int
    mean: list[float]
    std: list[float]
    crop: dict[str, Any]
    """How a detected face is cropped: detector, and margin on each side in box sides."""
    temperature: float = 1.0
    split_hash: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    """On the test split, with n; empty until it was evaluated."""
    training: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, str] | None = None
    """Id (or folder) and revision of the backbone, where its weights are not in the file."""
    title: str = ""
    """The model's name, or what it is in truth: a DINOv2 may never have been pre-trained."""
    licence: str = "research use only: trained on UTKFace"
    agecli_version: str = __version__
    format: int = FORMAT

    @property
    def knows_years(self) -> bool:
        """Whether the outputs are years, and not age groups."""
        return knows_years(self.objective)

    @property
    def described(self) -> str:
        """What the model is in a few words: "CNN, four conv blocks", "resnet18"."""
        if self.title and self.title != self.model:
            return self.title
        return str(self.architecture.get("arch") or MODELS[self.model].title)


def save_weights(
    path: Path,
    state: dict[str, Tensor],
    metadata: Metadata,
    *,
    half: bool = True,
) -> None:
    """Write a weights file whole or not at all; matrices are stored as 16-bit floats, if `half`.

    Vectors (biases, batch norm) keep 32 bits: they cost nothing and may exceed the range of fp16.
    Raises DiskError where there is no room.
    """
    import torch
    from safetensors.torch import save

    def stored(tensor: Tensor) -> Tensor:
        shrinks = half and tensor.is_floating_point() and tensor.ndim > 1
        return tensor.detach().to("cpu", torch.float16 if shrinks else None).contiguous()

    tensors = {name: stored(tensor) for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(tensors, {KEY: json.dumps(asdict(metadata))}))


def read_metadata(path: Path) -> Metadata:
    """Read a weights or ONNX file's metadata, without its tensors and without torch.

    Raises WeightsError for a missing, cut or foreign file, or one of a newer format.
    """
    if not path.is_file():
        raise WeightsError(f"No weights file at {path}: train one with `agecli train cnn`")
    metadata = _read(path)
    if metadata.model not in MODELS:
        raise WeightsError(
            f"{path} holds the model {metadata.model!r}, which this agecli does not know "
            f"({', '.join(MODELS)}): upgrade agecli"
        )
    return metadata


def is_ours(path: Path) -> bool:
    """Return whether a file was written by agecli, readable here or not."""
    with suppress(WeightsError):
        return path.suffix in SUFFIXES and path.is_file() and _read_text(path) is not None
    return False


def _read(path: Path) -> Metadata:
    text = _read_text(path)
    if text is None:
        raise WeightsError(f"{path} was not written by agecli: give a file of `agecli train`")
    try:
        content = json.loads(text)
        if content["format"] > FORMAT:
            raise WeightsError(
                f"{path} has format {content['format']}, newer than this agecli reads "
                f"({FORMAT}): upgrade agecli"
            )
        known = {f.name for f in fields(Metadata)}
        return Metadata(**{key: value for key, value in content.items() if key in known})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} has damaged metadata ({error}): train it again") from error


def _read_text(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    kind = "ONNX" if path.suffix == ONNX else "safetensors"
    try:
        if path.suffix == ONNX:
            return read_property(path, KEY)
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a whole {kind} file ({error}): copy or make it again"
        ) from error


def load_weights(path: Path) -> tuple[nn.Module, Metadata]:
    """Rebuild the model of a weights file, in fp32 and eval mode, on the CPU.

    Raises WeightsError for a file that does not fit its model, or whose backbone is not to be had.
    """
    import torch
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if path.suffix == ONNX:
        raise WeightsError(f"{path} is an export, to predict with: give the weights it was made of")
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }
    try:
        with torch.device("meta"):  # no memory and no random numbers for what is overwritten
            model = MODELS[metadata.model].build(**metadata.architecture)
        if metadata.backbone:
            from agecli.models.dinov2 import backbone_state

            way_on = pasteable("agecli", "export", path, "OUT", "--with-backbone")
            instead = f"run `{way_on}` there"
            tensors |= backbone_state(**metadata.backbone, instead=instead)
        model.load_state_dict(tensors, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"{path} does not fit its model {metadata.model} ({reason}): train it again"
        ) from error
    return model.eval(), metadata


def released_folder() -> Path:
    """Find the released weights: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "_released"
    return installed if installed.is_dir() else package.parent / "weights"


def find_weights(model: str = "all", where: Path | None = None) -> list[Path]:
    """List the weights files of a folder (or the one file) for a model's name, or for all.

    where: a file or folder; the released weights by default. Ordered as in the registry.
    Raises UsageError for an unknown name, WeightsError where there is no such file.
    """
    if model != "all" and model not in MODELS:
        raise UsageError(f"--model: {model!r} is not one of {', '.join(MODELS)}, all")
    where = where or released_folder()
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise WeightsError(f"No weights at {where}: give a weights file or a folder of them")
    if (best := where / "best.safetensors").is_file():  # a run folder
        return [best]
    paths = sorted(path for path in where.iterdir() if path.suffix in SUFFIXES)
    if model == "all":
        order = list(MODELS)
        found = sorted(paths, key=lambda p: order.index(p.stem) if p.stem in order else len(order))
    else:
        found = [path for path in paths if path.stem == model or read_metadata(path).model == model]
    if not found:
        wanted = DEFAULT_MODEL if model == "all" else model
        what = "weights file" if model == "all" else f"{model} weights file"
        runs = sorted(where.glob("*/best.safetensors"))
        hint = (
            f"give a run, as {runs[0].parent}"
            if runs
            else f"train one with `agecli train {wanted}`"
        )
        raise WeightsError(f"No {what} in {where}: {hint}")
    return found


def named_weights(*names: str | Path) -> list[Path]:
    """List the weights files that released models' names, files, or folders stand for."""
    found: list[Path] = []
    for name in names:
        released = str(name) in MODELS and not Path(name).exists()
        found += find_weights(str(name)) if released else find_weights(where=Path(name))
    return found
