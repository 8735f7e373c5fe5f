"""Export a weights file: write it in another form, check it beside the original, keep it."""

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
    """What an export wrote, and how its answers differ from the original's."""

    file: Path
    parity: Parity

    def __str__(self) -> str:
        return f"{self.file} ({self.file.stat().st_size / 1e6:.1f} MB): {self.parity}"


def export(
    weights: Path | str, out: Path | str, *, form: Form | None = None,
    precision: Precision | None = None, with_backbone: bool = False, data: Path | None = None,
    card: bool = False, hub_folder: bool = False,
) -> Export:  # fmt: skip
    """Write a model in another form, once its answers have shown to be the original's.

    weights: a weights file, the run it is in, or a released model's name. form: by default what
    OUT ends in. precision: by default fp16 for safetensors, fp32 for others. with_backbone and data
    are those of `ExportConfig`. card: write a model card beside OUT, ending in .md. hub_folder: OUT
    is a folder to fill, which a model hub takes as it is and --weights, too: model.safetensors (or
    another form), config.json with the metadata, and the card as README.md.

    Raises UsageError where OUT exists or the options do not go together, WeightsError for an
    export that cannot be made or answers otherwise: then nothing is left. DataError where the data
    set cannot be used.
    """
    out = Path(out)
    if not hub_folder:
        form = _form_of(out, form)
    form = form or FORMS[0]
    precision = precision or ("fp16" if form == "safetensors" else "fp32")
    config = ExportConfig(form, precision, with_backbone, data)
    source, *others = named_weights(weights)
    if others:
        raise UsageError(f"WEIGHTS: {weights} holds several: name one of them, as {source}")
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
    """Write README.md in a folder of weights, whole or not at all; an earlier one is replaced.

    It tells of each file how right it is and how to train it again. Raises UsageError for what is
    no folder, WeightsError where it holds no weights.
    """
    if not folder.is_dir():
        raise UsageError("--index: give the folder of the weights, and nothing else")
    readme = folder / "README.md"
    check_outputs([Output("--index", readme, marked(INDEX))])
    write_text(readme, folder_readme(folder))
    return readme


def _form_of(out: Path, form: Form | None) -> Form:
    """Return the form that a file's ending names. Raises UsageError where it is not the wanted."""
    if form and out.suffix != f".{form}":
        raise UsageError(f"OUT: {out} is no .{form} file: give it that ending")
    for known in FORMS:
        if out.suffix == f".{known}":
            return known
    raise UsageError(f"OUT: {out} ends in none of .{', .'.join(FORMS)}: give it one")


def _write(source: Path, file: Path, config: ExportConfig) -> tuple[Parity, Metadata]:
    """Write the file, and check it. Returns how its answers differ, and its metadata."""
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
        metadata = replace(metadata, metrics={})  # they are the original's, which answers otherwise
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
        raise UsageError(f"--with-backbone: {source} has all its weights inside: leave it out")
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
    """Yield a hidden folder to write into; what is in it takes its names when the block ends well.

    `out` does so last: killed before, the same export can be made again.
    """
    with partial_folder(out) as folder:
        yield folder
        for path in (*others, out):
            (folder / path.name).replace(path)


def _check_free(out: Path, beside: list[Path], source: Path) -> None:
    """Raise UsageError where OUT is there, or a card that is not of an earlier try at it."""
    clear_leftovers(out.parent.absolute())
    if os.path.lexists(out):
        raise UsageError(f"OUT: {out} exists: give another name")
    outputs = [Output("--card", path, marked(card_mark(out.name))) for path in beside]
    out.parent.mkdir(parents=True, exist_ok=True)
    check_outputs(outputs, [source])
