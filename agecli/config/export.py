"""How a model is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from agecli.errors import UsageError

Form = Literal["safetensors", "onnx", "pt2"]
"""What an export is written as, and its file's ending."""
Precision = Literal["fp32", "fp16", "int8"]

FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class ExportConfig:
    """Form and precision of an export, and what it is checked on."""

    to: Form = "safetensors"
    """`pt2` is a program for `torch.export.load`: torch deprecates TorchScript in its favour."""
    precision: Precision = "fp16"
    """fp16: of a safetensors file's matrices, as a training writes them. int8: for ONNX alone."""
    with_backbone: bool = False
    """Put the backbone's weights into a safetensors file; the other forms always hold them."""
    data: Path | None = None
    """The data set on whose validation images the export is checked, and int8 calibrated."""

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.to != "safetensors":
            raise UsageError(f"--dtype: an export to {self.to} is in fp32: leave it out")
        if self.precision == "int8" and self.to != "onnx":
            raise UsageError(f"--int8: {self.to} has no 8 bits: give --to onnx")
        if self.precision == "int8" and self.data is None:
            raise UsageError("--int8: its ranges are set on validation images: give --data")
        if self.with_backbone and self.to != "safetensors":
            raise UsageError(f"--with-backbone: {self.to} always has it inside: leave it out")
