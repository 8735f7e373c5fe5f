"""agecli export: weights for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from agecli.config import FORMS, ExportConfig, Form

EXAMPLES = """\b
Examples:
  agecli export runs/cnn cnn.onnx --data data/utkface
  agecli export runs/cnn cnn-int8.onnx --int8 --data data/utkface
  agecli export runs/dinov2 dinov2-offline.safetensors --with-backbone
  agecli export runs/cnn --hub-folder hub/cnn
  agecli export weights --index
"""


def export(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS|RUN|FOLDER",
            help="A weights file, the run it is in, or a released model.",
        ),
    ],
    out: Annotated[Path | None, typer.Argument(metavar="[OUT]", help="The file to write.")] = None,
    to: Annotated[
        Form | None,
        typer.Option(
            help="ONNX; torch.export's pt2, TorchScript's successor; or agecli's own weights "
            "file; by default what OUT ends in.",
        ),
    ] = None,
    dtype: Annotated[
        Literal["fp32", "fp16"] | None,
        typer.Option(
            help="Matrices of a safetensors file, by default fp16; other forms are in fp32."
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="ONNX in 8 bits, its ranges set on validation images."),
    ] = False,
    with_backbone: Annotated[
        bool,
        typer.Option(
            "--with-backbone", help="Put the backbone inside a dinov2's safetensors file."
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Data set on whose validation images the export is checked; else on drawn ones.",
        ),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card beside OUT, ending in .md.")
    ] = False,
    hub_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Instead of OUT: fill a folder that a model hub takes as it is.",
        ),
    ] = None,
    index: Annotated[
        bool,
        typer.Option(
            "--index",
            help="Instead of OUT: write README.md in FOLDER, which tells of the weights there "
            "how right they are and how to train them again.",
        ),
    ] = False,
) -> None:
    """Write a model in another form, for use elsewhere.

    ONNX and pt2 take uint8 crops (N, side, side, 3) of a face, normalise them
    themselves, and give the groups' probabilities and, where known, the age.
    ONNX runs without torch: predict and evaluate take it like any weights.

    Every export is run beside the original; one that answers otherwise is not
    kept.
    """
    from agecli.errors import UsageError
    from agecli.exporting.export import export, export_folder, write_index
    from agecli.weights import named_weights

    if index:
        if not weights.is_dir() or any((out, to, dtype, int8, with_backbone, card, hub_folder)):
            raise UsageError("--index: give the folder of the weights, and nothing else")
        typer.echo(write_index(weights))
        return
    form = to or _form_of(out)
    if (out is None) == (hub_folder is None):
        raise UsageError("OUT: give a file to write, or --hub-folder instead")
    if out and out.suffix != f".{form}":
        raise UsageError(f"OUT: {out} is no .{form} file: give it that ending")
    if int8 and dtype:
        raise UsageError("--dtype: --int8 has a precision of its own: leave one of them out")
    precision = "int8" if int8 else dtype or ("fp16" if form == "safetensors" else "fp32")
    config = ExportConfig(form, precision, with_backbone, data)
    source, *others = named_weights(weights)
    if others:
        raise UsageError(f"WEIGHTS: {weights} holds several: name one of them, as {source}")
    if hub_folder:
        parity = export_folder(source, hub_folder, config)
        out = hub_folder / f"model.{form}"
    else:
        assert out
        parity = export(source, out, config, card=card)
    typer.echo(f"{out} ({out.stat().st_size / 1e6:.1f} MB): {parity}")


def _form_of(out: Path | None) -> Form:
    """Return the form that a file's ending names; without a file, the first."""
    from agecli.errors import UsageError

    for form in FORMS:
        if out is None or out.suffix == f".{form}":
            return form
    raise UsageError(f"OUT: {out} ends in none of .{', .'.join(FORMS)}: give it one")
