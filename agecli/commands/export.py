"""agecli export: weights files for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """\b
Examples:
  agecli export runs/dinov2 dinov2-offline.safetensors --with-backbone
"""


def export(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS|RUN", help="A weights file, or the run it is in.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    with_backbone: Annotated[
        bool,
        typer.Option("--with-backbone", help="Put the backbone inside: one file for offline use."),
    ] = False,
) -> None:
    """Write a weights file that stands alone, from a dinov2's that names its backbone.

    Its matrices are 16-bit floats. predict and evaluate take it like any other.
    """
    from agecli.errors import UsageError
    from agecli.exporting import export_with_backbone
    from agecli.weights import named_weights

    if not with_backbone:
        raise UsageError("Nothing to do: give --with-backbone")
    if out.suffix != ".safetensors":
        raise UsageError(f"OUT: {out} is no .safetensors file: give it that ending")
    export_with_backbone(named_weights(weights)[0], out)
    typer.echo(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
