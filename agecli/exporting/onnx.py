"""Write models as ONNX and as torch.export programs. The home of onnx and onnxscript."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agecli.ages import FloatArray, Scheme
from agecli.errors import AgecliError, WeightsError, brief
from agecli.exporting.parity import Exported
from agecli.files import write_bytes
from agecli.inference.onnx import INSTALL
from agecli.weights import KEY, Metadata, load_weights, read_metadata

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators computed in 8 bits; those in between stay in floats."""
FEW = 8
"""Images per batch of calibration."""


def to_program(source: Path) -> ExportedProgram:
    """Trace a weights file's model with its pre- and postprocessing, for batches of any size.

    Raises WeightsError if torch fails.
    """
    import torch

    from agecli.exporting.portable import INPUT, Portable

    module, meta = load_weights(source)
    portable = Portable(
        module, scheme=Scheme.parse(meta.scheme), knows_years=meta.knows_years, mean=meta.mean,
        std=meta.std, temperature=meta.temperature,
    )  # fmt: skip
    size = meta.image_size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _in_one_line(source), torch.no_grad():
        return torch.export.export(
            portable.eval().requires_grad_(False),
            (example,),
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
        )


def write_program(program: ExportedProgram, out: Path, metadata: Metadata) -> None:
    """Write a .pt2 file for `torch.export.load`, with the metadata in the extra file `agecli`."""
    import torch

    content = io.BytesIO()  # on a full disk torch's own writer crashes
    with _in_one_line(out):
        torch.export.save(program, content, extra_files={KEY: json.dumps(asdict(metadata))})
    write_bytes(out, content.getbuffer())


def load_program(path: Path) -> Exported:
    """Load a .pt2 file as a function from images to the groups' probabilities (N, groups)."""
    import torch

    with _in_one_line(path):
        module: nn.Module = torch.export.load(path).module()

    def answer(images: np.ndarray) -> FloatArray:
        with torch.no_grad():
            return module(torch.from_numpy(images))[0].numpy()

    return answer


def write_onnx(program: ExportedProgram, out: Path, metadata: Metadata) -> None:
    """Write an ONNX file with the metadata under the key `agecli`.

    Raises WeightsError if torch fails.
    """
    import torch

    from agecli.exporting.portable import INPUT, OUTPUTS

    names = list(OUTPUTS if metadata.knows_years else OUTPUTS[:1])
    with _in_one_line(out):
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[INPUT], output_names=names, verbose=False
        )
        assert exported is not None
        exported.model.metadata_props[KEY] = json.dumps(asdict(metadata))
        exported.save(out, external_data=False)


def quantise(path: Path, out: Path, images: np.ndarray) -> None:
    """Write a copy of an ONNX file whose convolutions and matrix products run in 8 bits.

    images: uint8 (N, size, size, 3), which set the ranges of activations: a moving average of
    a few images' smallest and largest values, which limits outliers. The first layer
    and all from the last on stay in floats: they cost little and lose most. Weights have a scale
    per channel, and 7 bits: with 8, sums overflow on processors without VNNI, and 35 % of the
    predictions changed.
    """
    from onnxruntime import quantization

    from agecli.exporting.portable import INPUT

    class Reader(quantization.CalibrationDataReader):
        batches = iter([{INPUT: images[i : i + FEW]} for i in range(0, len(images), FEW)])

        def get_next(self) -> Any:
            return next(self.batches, None)

    with _in_one_line(path):
        quantization.quantize_static(
            path, out, Reader(), op_types_to_quantize=list(QUANTISED), per_channel=True,
            nodes_to_exclude=_outer_layers(path), reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "CalibMovingAverage": True,
                           "CalibMovingAverageConstant": 0.1},
        )  # fmt: skip


def _outer_layers(path: Path) -> list[str]:
    """Return the first layer, the last, and the product after it that sums years to groups."""
    import onnx

    graph = onnx.load(path).graph
    layers = [node.name for node in graph.node if node.op_type in QUANTISED]
    return [layers[0], *layers[-2 if read_metadata(path).knows_years else -1 :]]


def need_onnx(out: Path) -> None:
    """Raise AgecliError, with the command to type, if a package for ONNX is missing."""
    try:
        import onnx  # noqa: F401 - only their presence is checked
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise AgecliError(f"{out.name} needs {error.name}: {INSTALL}") from error


@contextmanager
def _in_one_line(name: Path) -> Iterator[None]:
    """Turn any error of an exporter into one line; print nothing."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        reason = brief(error)
        raise WeightsError(
            f"{name.name} cannot be exported ({reason}): use --to safetensors, and please report it"
        ) from error
    finally:
        logging.disable(disabled)
