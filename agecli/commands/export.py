"""agecli export: weights for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from agecli.commands import _completion as completion
from agecli.commands._options import flag
from agecli.config import Form
from agecli.errors import UsageError

EXAMPLES = """\b
Examples:
  agecli export runs/cnn cnn.onnx --data data/utkface
  agecli export runs/cnn cnn-int8.onnx --int8 --data data/utkface
  agecli export runs/dinov2 dinov2-offline.safetensors --with-backbone
  agecli export runs/cnn --hub-folder hub/cnn
  agecli export weights --index
"""


Option = typer.Option
Weights = Annotated[
    Path,
    typer.Argument(
        metavar="WEIGHTS|RUN|FOLDER",
        help="A weights file, the run it is in, or a released model.",
        autocompletion=completion.weights,
    ),
]
Out = Annotated[Path | None, typer.Argument(metavar="[OUT]", help="The file to write.")]
To = Annotated[
    Form | None,
    Option(
        help="ONNX; torch.export's pt2, TorchScript's successor; or agecli's own weights "
        "file; by default what OUT ends in."
    ),
]
Dtype = Annotated[
    Literal["fp32", "fp16"] | None,
    Option(help="Matrices of a safetensors file, by default fp16; other forms are in fp32."),
]
Int8 = Annotated[bool, flag("int8", "ONNX in 8 bits, its ranges set on validation images.")]
WithBackbone = Annotated[
    bool, flag("with-backbone", "Put the backbone inside a dinov2's safetensors file.")
]
Data = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        autocompletion=completion.datasets,
        help="Data set on whose validation images the export is checked; else on drawn ones.",
    ),
]
Card = Annotated[bool, flag("card", "Write a model card beside OUT, ending in .md.")]
HubFolder = Annotated[
    Path | None,
    Option(metavar="DIR", help="Instead of OUT: fill a folder that a model hub takes as it is."),
]
Index = Annotated[
    bool,
    flag(
        "index",
        "Instead of OUT: write README.md in FOLDER, which tells of the weights there "
        "how right they are and how to train them again.",
    ),
]


def export(
    weights: Weights,
    out: Out = None,
    to: To = None,
    dtype: Dtype = None,
    int8: Int8 = False,
    with_backbone: WithBackbone = False,
    data: Data = None,
    card: Card = False,
    hub_folder: HubFolder = None,
    index: Index = False,
) -> None:
    """Write a model in another form, for use elsewhere.

    ONNX and pt2 take uint8 crops (N, side, side, 3) of a face, normalise them
    themselves, and give the groups' probabilities and, where known, the age.
    ONNX runs without torch: predict and evaluate take it like any weights.

    Every export is run beside the original; one that answers otherwise is not
    kept.
    """
    from agecli.exporting.export import export, write_index

    if index:
        if any((out, to, dtype, int8, with_backbone, card, hub_folder)):
            raise UsageError("--index: give the folder of the weights, and nothing else")
        typer.echo(write_index(weights))
        return
    target = out or hub_folder
    if target is None or (out and hub_folder):
        raise UsageError("OUT: give a file to write, or --hub-folder instead")
    if int8 and dtype:
        raise UsageError("--dtype: --int8 has a precision of its own: leave one of them out")
    typer.echo(
        export(
            weights, target, form=to, precision="int8" if int8 else dtype, data=data, card=card,
            with_backbone=with_backbone, hub_folder=hub_folder is not None,
        )
    )  # fmt: skip
