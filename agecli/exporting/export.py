"""Export a weights file: write it in another form, check it beside the original, keep it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from agecli.ages import Answers
from agecli.config import ExportConfig, Form
from agecli.errors import UsageError
from agecli.exporting import onnx
from agecli.exporting.card import model_card
from agecli.exporting.index import folder_readme
from agecli.exporting.parity import Answer, Parity, calibration_images, check, compare, held_images
from agecli.files import write_text
from agecli.inference.predictor import load_model
from agecli.weights import Metadata, load_weights, read_metadata, save_weights


def export(source: Path, out: Path, config: ExportConfig, *, card: bool = False) -> Parity:
    """Write a weights file in another form, once its answers have shown to be the original's.

    card: write a model card beside it, under the same name with the ending .md. Returns how the
    answers differ. Raises UsageError where OUT exists or the options do not go together,
    WeightsError for an export that cannot be made or answers otherwise: then nothing is left.
    """
    with _whole(out, *([_card_of(out)] if card else [])) as folder:
        parity, metadata = _write(source, folder / out.name, config)
        if card:
            text = model_card(metadata, out.name, config.precision, parity)
            (folder / _card_of(out).name).write_text(text, encoding="utf-8")
    return parity


def export_folder(source: Path, out: Path, config: ExportConfig) -> Parity:
    """Write a folder that can be uploaded to a model hub as it is, and used with --weights.

    It holds model.safetensors (or .onnx, .pt2), config.json with the metadata, and README.md, the
    model card. Otherwise as `export`.
    """
    with _whole(out) as folder:
        whole = folder / out.name
        whole.mkdir()
        file = whole / f"model.{config.to}"
        parity, metadata = _write(source, file, config)
        text = json.dumps(asdict(metadata), indent=2)
        (whole / "config.json").write_text(text + "\n", encoding="utf-8")
        card = model_card(metadata, file.name, config.precision, parity)
        (whole / "README.md").write_text(card, encoding="utf-8")
    return parity


def write_index(folder: Path) -> Path:
    """Write README.md in a folder of weights, whole or not at all; an earlier one is replaced."""
    readme = folder / "README.md"
    write_text(readme, folder_readme(folder))
    return readme


def _write(source: Path, file: Path, config: ExportConfig) -> tuple[Parity, Metadata]:
    """Write the file, and check it. Returns how its answers differ, and its metadata."""
    original = load_model(source, "cpu")
    held = held_images(original.metadata.image_size, config.data)
    write = _write_safetensors if config.to == "safetensors" else _write_program
    metadata = write(source, file, config)
    parity = compare(original, _answers(file, config.to), held)
    check(parity, config.precision, source)
    return parity, metadata


def _write_program(source: Path, file: Path, config: ExportConfig) -> Metadata:
    if config.to == "onnx":
        onnx.need_onnx(file)
    metadata = replace(read_metadata(source), backbone=None)
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
    metadata = read_metadata(source)
    if config.with_backbone and not metadata.backbone:
        raise UsageError(f"--with-backbone: {source} has all its weights inside: leave it out")
    model, _ = load_weights(source)
    state = model.state_dict()
    if config.with_backbone:
        metadata = replace(metadata, backbone=None)
    elif metadata.backbone:
        state = {k: v for k, v in state.items() if not k.startswith("backbone.")}
    save_weights(file, state, metadata, half=config.precision == "fp16")
    return metadata


def _answers(file: Path, form: Form) -> Answer:
    if form == "pt2":
        return onnx.load_program(file)
    model = load_model(file, "cpu")
    read = partial(Answers, scheme=model.scheme, knows_years=model.metadata.knows_years)
    return lambda images: read(model.distributions(images, flip=False)).groups  # NaN and all


def _card_of(out: Path) -> Path:
    return out.with_suffix(".md")


@contextmanager
def _whole(out: Path, *others: Path) -> Iterator[Path]:
    """Yield a hidden folder to write into; what is in it takes its names when the block ends well.

    Raises UsageError where one of the names is taken.
    """
    for path in (out, *others):
        if path.exists():
            raise UsageError(f"OUT: {path} exists: give another name")
    folder = out.with_name(f".{out.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        for path in (*others, out):
            (folder / path.name).rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
