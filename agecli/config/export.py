"""Settings of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from agecli.errors import UsageError

Form = Literal["safetensors", "onnx", "pt2"]
"""Formats of an export, and their files' suffixes."""
Precision = Literal["fp32", "fp16", "int8"]

FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class ExportConfig:
    """Format and precision of an export, and the data it is checked on."""

    to: Form = "safetensors"
    """`pt2` is a program for `torch.export.load`: torch deprecates TorchScript in its favour."""
    precision: Precision = "fp16"
    """Precision. fp16: for a safetensors file's matrices, as in training. int8: only for ONNX."""
    with_backbone: bool = False
    """Include the backbone's weights in a safetensors file; the other formats always do."""
    data: Path | None = None
    """Data set on whose validation images to check the export, and to calibrate int8."""

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.to != "safetensors":
            raise UsageError(f"--dtype: an export to {self.to} is in fp32: leave it out")
        if self.precision == "int8" and self.to != "onnx":
            raise UsageError(f"--int8: {self.to} has no 8-bit format: use --to onnx")
        if self.precision == "int8" and self.data is None:
            raise UsageError("--int8: its ranges are calibrated on validation images: pass --data")
        if self.with_backbone and self.to != "safetensors":
            raise UsageError(f"--with-backbone: {self.to} always contains it: leave it out")
