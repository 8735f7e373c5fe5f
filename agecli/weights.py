"""Weights files: safetensors with the metadata of model, preprocessing, data and results.

ONNX files of `agecli export` have the same metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agecli.errors import UsageError, WeightsError, brief, pasteable
from agecli.files import write_bytes
from agecli.formats import ONNX as ONNX_FILE
from agecli.formats import SAFETENSORS, format_of
from agecli.metadata import Metadata, Newer, read_metadata_text
from agecli.onnxfile import read_property
from agecli.registry import DEFAULT_MODEL, MODELS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from agecli.data.seen import Prints

KEY = "agecli"
ONNX = ".onnx"
SUFFIXES = (".safetensors", ONNX)
BACKBONE = "backbone."
"""Prefix of the names of a backbone's tensors."""
FINGERPRINTS = "agecli.fingerprints"
"""The name of the tensor (N, bytes) that is not part of the model: see `data.seen`."""
MOST_FINGERPRINTS = 10**8
MOST_PARAMETERS = 2 * 10**9
"""Most parameters: twice those of the largest DINOv2."""


def save_weights(
    path: Path,
    state: dict[str, Tensor],
    metadata: Metadata,
    *,
    half: bool = True,
) -> None:
    """Write a weights file, completely or not at all; with `half`, matrices as 16-bit floats.

    Vectors (biases, batch norm) keep 32 bits: they cost nothing and may exceed the range of fp16.
    Raises DiskError if the disk is too full.
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

    Raises WeightsError, with what to do, for a missing, truncated or foreign file, invalid
    metadata, or a newer format.
    """
    text = _read_text(path)
    if text is None:
        raise WeightsError(f"{path} was not written by agecli: use a file of `agecli train`")
    try:
        return read_metadata_text(text)
    except Newer as error:
        raise WeightsError(f"{path} {brief(error)}: upgrade agecli") from error
    except ValueError as error:
        reason = brief(error)
        raise WeightsError(f"{path} has damaged metadata ({reason}): train it again") from error


def is_ours(path: Path) -> bool:
    """Return whether a file was written by agecli, readable here or not."""
    with suppress(WeightsError):
        return path.suffix in SUFFIXES and path.is_file() and _read_text(path) is not None
    return False


def _read_text(path: Path) -> str | None:
    """Return the metadata's text, or None if a file has none."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(f"No weights file at {path}: train one with `agecli train cnn`")
    kind = ONNX_FILE if path.suffix == ONNX else SAFETENSORS
    _refuse_others(path, kind)
    try:
        if path.suffix == ONNX:
            return read_property(path, KEY)
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, ValueError) as error:
        whole_one = kind.removeprefix("an ").removeprefix("a ")
        raise WeightsError(
            f"{path} is not a complete {whole_one} ({brief(error)}): copy or make it again"
        ) from error


def _refuse_others(path: Path, kind: str) -> None:
    """Raise WeightsError, with what to use instead, for a file of another kind than its name."""
    found = format_of(path)
    if found is None or found.what == kind:
        return
    hint = found.hint
    for known, suffix in ((ONNX_FILE, ONNX), (SAFETENSORS, SUFFIXES[0])):
        if found.what == known:
            hint = f"rename it to {path.with_suffix(suffix).name}"
    raise WeightsError(f"{path} is {found.what}: {hint}")


def load_weights(path: Path) -> tuple[nn.Module, Metadata]:
    """Rebuild the model of a weights file, in fp32 and eval mode, on the CPU.

    The shapes of its tensors are checked in the file's header, before they are read.
    Raises WeightsError for a file that does not fit its model, or whose backbone is unavailable.
    """
    import torch

    metadata = read_metadata(path)
    if path.suffix == ONNX:
        raise WeightsError(f"{path} is an export for prediction: use the weights it was made from")
    with _fitting(path, metadata):
        with torch.device("meta"):  # no memory and no random numbers for values to be overwritten
            model = MODELS[metadata.model].build(**metadata.architecture)
        own = model.state_dict()
        if (count := sum(tensor.numel() for tensor in own.values())) > MOST_PARAMETERS:
            raise ValueError(f"{count:,} parameters")
        elsewhere = {k: t for k, t in own.items() if metadata.backbone and k.startswith(BACKBONE)}
        model.load_state_dict(_shapes(path) | elsewhere, assign=True)
    tensors = read_tensors(path)
    if metadata.backbone:
        from agecli.models.dinov2 import backbone_state

        way_on = pasteable("agecli", "export", path, "OUT", "--with-backbone")
        tensors |= backbone_state(**metadata.backbone, instead=f"run `{way_on}` there")
    with _fitting(path, metadata):
        model.load_state_dict(tensors, assign=True)
        for name, tensor in model.state_dict().items():
            wanted = torch.float32 if own[name].is_floating_point() else own[name].dtype
            if tensor.dtype != wanted:
                raise ValueError(f"{name} is of {tensor.dtype}")
    return model.eval(), metadata


def _shapes(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors without values, from its header alone."""
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = (name for name in file.keys() if name != FINGERPRINTS)  # noqa: SIM118 - not a dict
        return {
            name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in names
        }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a model's tensors, floats in fp32. Raises WeightsError for an incomplete file."""
    from safetensors.torch import load_file

    _read_text(path)  # for its errors
    tensors = load_file(path)
    tensors.pop(FINGERPRINTS, None)
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def read_fingerprints(path: Path) -> Prints | None:
    """Read the fingerprints of all images that a model has seen; return None if unknown.

    They are unknown for exports to other formats, earlier versions, and later fingerprints.
    Raises WeightsError for invalid fingerprints.
    """
    from safetensors import safe_open

    from agecli.data.seen import BYTES, VERSION

    if read_metadata(path).fingerprints != VERSION or path.suffix == ONNX:
        return None
    with safe_open(path, framework="numpy") as file:
        held = file.get_slice(FINGERPRINTS) if FINGERPRINTS in file.keys() else None  # noqa: SIM118
        shape = held.get_shape() if held and held.get_dtype() == "U8" else []
        if len(shape) != 2 or shape[1] != BYTES or not 1 <= shape[0] <= MOST_FINGERPRINTS:
            raise WeightsError(
                f"{path} has damaged fingerprints of the images it has seen: copy or train it again"
            )
        return file.get_tensor(FINGERPRINTS)


@contextmanager
def _fitting(path: Path, metadata: Metadata) -> Iterator[None]:
    """Turn any error of a file that does not fit its model into one line."""
    try:
        yield
    except Exception as error:  # from torch and transformers: of any kind
        reason = brief(error)
        raise WeightsError(
            f"{path} does not fit its model {metadata.model} ({reason}): train it again"
        ) from error


def released_folder() -> Path:
    """Return the folder of released weights: in an installed package, or in a checkout."""
    package = Path(__file__).parent
    installed = package / "_released"
    return installed if installed.is_dir() else package.parent / "weights"


def find_weights(model: str = "all", where: Path | None = None) -> list[Path]:
    """List the weights files of a folder (or the one file) for a model's name, or for all.

    where: a file or folder; the released weights by default. Ordered as in the registry.
    Raises UsageError for an unknown name, WeightsError if there is no such file.
    """
    if model != "all" and model not in MODELS:
        raise UsageError(f"--model: {model!r} is not one of {', '.join(MODELS)}, all")
    where = where or released_folder()
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise WeightsError(f"No weights at {where}: pass a weights file or a folder of them")
    if (best := where / "best.safetensors").is_file():  # a run folder
        return [best]
    paths = sorted(path for path in where.iterdir() if _named_as_weights(path))
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
            f"pass a run, such as {runs[0].parent}"
            if runs
            else f"train one with `agecli train {wanted}`"
        )
        raise WeightsError(f"No {what} in {where}: {hint}")
    return found


def _named_as_weights(path: Path) -> bool:
    """Return whether a file's name is one of weights; macOS's companion files are hidden."""
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def named_weights(*names: str | Path) -> list[Path]:
    """List the weights files of released models' names, files, or folders."""
    found: list[Path] = []
    for name in names:
        released = str(name) in MODELS and not Path(name).exists()
        found += find_weights(str(name)) if released else find_weights(where=Path(name))
    return found
