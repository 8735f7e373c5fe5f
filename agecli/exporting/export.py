"""Export a weights file: write it in another format, check it against the original, keep it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from agecli.ages import Answers
from agecli.config import FORMS, ExportConfig, Form, Precision
from agecli.errors import UsageError
from agecli.exporting import onnx
from agecli.exporting.card import card_mark, model_card
from agecli.exporting.index import INDEX, folder_readme
from agecli.exporting.parity import (
    Exported,
    Parity,
    calibration_images,
    check_parity,
    held_images,
    measure_parity,
)
from agecli.files import (
    Output,
    check_outputs,
    clear_leftovers,
    marked,
    partial_folder,
    room_for,
    write_text,
)
from agecli.inference.predictor import load_model
from agecli.weights import (
    FINGERPRINTS,
    Metadata,
    load_weights,
    named_weights,
    read_fingerprints,
    read_metadata,
    save_weights,
)


@dataclass(frozen=True)
class Export:
    """The file of an export, and how its outputs differ from the original's."""

    file: Path
    parity: Parity

    def __str__(self) -> str:
        return f"{self.file} ({self.file.stat().st_size / 1e6:.1f} MB): {self.parity}"


def export(
    weights: Path | str, out: Path | str, *, form: Form | None = None,
    precision: Precision | None = None, with_backbone: bool = False, data: Path | None = None,
    card: bool = False, hub_folder: bool = False,
) -> Export:  # fmt: skip
    """Write a model in another format, if its outputs match the original's.

    weights: a weights file, the run it is in, or a released model's name. form: by default what
    OUT ends in. precision: by default fp16 for safetensors, fp32 for others. with_backbone and data
    are those of `ExportConfig`. card: write a model card beside OUT, ending in .md. hub_folder: OUT
    is a folder to fill, which a model hub takes as it is and --weights, too: model.safetensors (or
    another format), config.json with the metadata, and the card as README.md.

    Raises UsageError if OUT exists or the options conflict, WeightsError for an
    export that fails or differs, which leaves nothing behind, DataError for an unusable data
    set.
    """
    out = Path(out)
    if not hub_folder:
        form = _form_of(out, form)
    form = form or FORMS[0]
    precision = precision or ("fp16" if form == "safetensors" else "fp32")
    config = ExportConfig(form, precision, with_backbone, data)
    source, *others = named_weights(weights)
    if others:
        raise UsageError(f"WEIGHTS: {weights} contains several: name one, such as {source}")
    beside = [out.with_suffix(".md")] if card and not hub_folder else []
    _check_free(out, beside, source)
    needed = source.stat().st_size * (1 if precision == "fp16" else 2)  # weights are in fp16
    with room_for(out, needed), _whole(out, *beside) as folder:
        file = folder / out.name
        if hub_folder:
            file.mkdir()
            file = file / f"model.{form}"
        parity, metadata = _write(source, file, config)
        text = model_card(metadata, file.name, precision, parity)
        if hub_folder:
            described = json.dumps(asdict(metadata), indent=2) + "\n"
            file.with_name("config.json").write_text(described, encoding="utf-8")
            file.with_name("README.md").write_text(text, encoding="utf-8")
        elif card:
            file.with_suffix(".md").write_text(text, encoding="utf-8")
    return Export(out / file.name if hub_folder else out, parity)


def write_index(folder: Path) -> Path:
    """Write README.md in a folder of weights, atomically; an earlier one is replaced.

    It lists each file's accuracy and the command that trains it again. Raises UsageError if it is
    not a folder, WeightsError if it contains no weights.
    """
    if not folder.is_dir():
        raise UsageError("--index: pass only the folder of the weights")
    readme = folder / "README.md"
    check_outputs([Output("--index", readme, marked(INDEX))])
    write_text(readme, folder_readme(folder))
    return readme


def _form_of(out: Path, form: Form | None) -> Form:
    """Return the format of a file's suffix. Raises UsageError if another one is requested."""
    if form and out.suffix != f".{form}":
        raise UsageError(f"OUT: {out} is not a .{form} file: use that suffix")
    for known in FORMS:
        if out.suffix == f".{known}":
            return known
    raise UsageError(f"OUT: {out} does not end in .{', .'.join(FORMS)}: use one of them")


def _write(source: Path, file: Path, config: ExportConfig) -> tuple[Parity, Metadata]:
    """Write and check the file. Returns how its outputs differ, and its metadata."""
    original = load_model(source, "cpu")
    held = held_images(original.metadata.image_size, config.data)
    write = _write_safetensors if config.to == "safetensors" else _write_program
    metadata = write(source, file, config)
    parity = measure_parity(original, _answers(file, config.to), held)
    check_parity(parity, config.precision, source)
    return parity, metadata


def _write_program(source: Path, file: Path, config: ExportConfig) -> Metadata:
    if config.to == "onnx":
        onnx.need_onnx(file)
    metadata = replace(read_metadata(source), backbone=None, fingerprints=0)  # the file has none
    program = onnx.to_program(source)
    if config.to == "pt2":
        onnx.write_program(program, file, metadata)
    elif config.precision == "int8":
        metadata = replace(metadata, metrics={})  # not those of the original
        images = calibration_images(metadata.image_size, config.data)
        plain = file.with_name("fp32.onnx")
        onnx.write_onnx(program, plain, metadata)
        onnx.quantise(plain, file, images)
        plain.unlink()
    else:
        onnx.write_onnx(program, file, metadata)
    return metadata


def _write_safetensors(source: Path, file: Path, config: ExportConfig) -> Metadata:
    import torch

    metadata = read_metadata(source)
    if config.with_backbone and not metadata.backbone:
        raise UsageError(f"--with-backbone: {source} already contains its weights: leave it out")
    model, _ = load_weights(source)
    state = model.state_dict()
    if config.with_backbone:
        metadata = replace(metadata, backbone=None)
    elif metadata.backbone:
        state = {k: v for k, v in state.items() if not k.startswith("backbone.")}
    if (prints := read_fingerprints(source)) is not None:
        state[FINGERPRINTS] = torch.from_numpy(prints)
    save_weights(file, state, metadata, half=config.precision == "fp16")
    return metadata


def _answers(file: Path, form: Form) -> Exported:
    if form == "pt2":
        return onnx.load_program(file)
    model = load_model(file, "cpu")
    read = partial(Answers, scheme=model.scheme, knows_years=model.metadata.knows_years)
    return lambda images: read(model.distributions(images, flip=False)).groups  # NaN and all


@contextmanager
def _whole(out: Path, *others: Path) -> Iterator[Path]:
    """Yield a hidden folder to write into; its files get their names if the block succeeds.

    `out` comes last, so that after a kill the same export can be repeated.
    """
    with partial_folder(out) as folder:
        yield folder
        for path in (*others, out):
            (folder / path.name).replace(path)


def _check_free(out: Path, beside: list[Path], source: Path) -> None:
    """Raise UsageError if OUT exists, or a card that is not from an earlier attempt."""
    clear_leftovers(out.parent.absolute())
    if os.path.lexists(out):
        raise UsageError(f"OUT: {out} exists: choose another name")
    outputs = [Output("--card", path, marked(card_mark(out.name))) for path in beside]
    out.parent.mkdir(parents=True, exist_ok=True)
    check_outputs(outputs, [source])
