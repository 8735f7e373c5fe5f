"""agecli export: write weights in other formats."""

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
        "file; by default OUT's suffix."
    ),
]
Dtype = Annotated[
    Literal["fp32", "fp16"] | None,
    Option(help="Precision of a safetensors file's matrices, by default fp16; others use fp32."),
]
Int8 = Annotated[bool, flag("int8", "Quantise ONNX to 8 bits, calibrated on validation images.")]
WithBackbone = Annotated[
    bool, flag("with-backbone", "Include the backbone in a dinov2's safetensors file.")
]
Data = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        autocompletion=completion.datasets,
        help="Data set on whose validation images to check the export; by default synthetic ones.",
    ),
]
Card = Annotated[bool, flag("card", "Write a model card beside OUT, ending in .md.")]
HubFolder = Annotated[
    Path | None,
    Option(metavar="DIR", help="Instead of OUT: write a folder that model hubs accept as it is."),
]
Index = Annotated[
    bool,
    flag(
        "index",
        "Instead of OUT: write README.md in FOLDER, with the accuracy of its weights "
        "and the commands that train them again.",
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
    """Write a model in another format, for use elsewhere.

    ONNX and pt2 take uint8 face crops (N, side, side, 3), normalise them
    themselves, and return the groups' probabilities and, if known, the age.
    ONNX runs without torch: predict and evaluate accept it like any weights.

    Every export is compared with the original; one whose outputs differ is not
    kept.
    """
    from agecli.exporting.export import export, write_index

    if index:
        if any((out, to, dtype, int8, with_backbone, card, hub_folder)):
            raise UsageError("--index: pass only the folder of the weights")
        typer.echo(write_index(weights))
        return
    target = out or hub_folder
    if target is None or (out and hub_folder):
        raise UsageError("OUT: pass a file to write, or --hub-folder instead")
    if int8 and dtype:
        raise UsageError("--dtype and --int8 exclude each other: pass one")
    typer.echo(
        export(
            weights, target, form=to, precision="int8" if int8 else dtype, data=data, card=card,
            with_backbone=with_backbone, hub_folder=hub_folder is not None,
        )
    )  # fmt: skip
