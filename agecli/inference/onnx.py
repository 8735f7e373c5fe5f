"""Exported models, run by onnxruntime; torch stays unloaded. The home of onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agecli.ages import FloatArray
from agecli.config import FLIP, Device
from agecli.data.images import square
from agecli.errors import AgecliError, UsageError, WeightsError
from agecli.inference.model import Model
from agecli.weights import read_metadata

INSTALL = 'pip install "agecli[onnx]"'

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""What onnxruntime calls the devices, the best first."""


class OnnxModel(Model):
    """An ONNX file of `agecli export`: it takes crops as they are, and answers in probabilities.

    Raises AgecliError without onnxruntime, UsageError for a device that it has not, WeightsError
    for a file that it cannot run.
    """

    def __init__(self, path: Path, device: Device = "auto") -> None:
        super().__init__(read_metadata(path), path)
        self._session = _open(path, device)
        self._output = "years" if self.metadata.knows_years else "probabilities"

    def distributions(self, images: np.ndarray, flip: bool = FLIP) -> FloatArray:
        """Return (N, outputs) for uint8 crops (N, S, S, 3), as `Model.distributions` says."""
        size = self.metadata.image_size
        if images.shape[1] != size:
            images = np.stack([square(Image.fromarray(image), size) for image in images])
        if flip:
            images = np.concatenate([images, images[:, :, ::-1]])  # (2N, size, size, 3)
        (answers,) = self._session.run([self._output], {"images": np.ascontiguousarray(images)})
        answers = answers.astype(np.float64)
        if flip:
            answers = answers.reshape(2, -1, answers.shape[1]).mean(axis=0)
        return answers  # (N, outputs)


def _open(path: Path, device: Device) -> Any:
    """Start a session on a device, with as many threads as torch would take."""
    try:
        import onnxruntime
    except ImportError as error:
        raise AgecliError(f"{path} needs onnxruntime: {INSTALL}") from error
    here = onnxruntime.get_available_providers()
    wanted = [PROVIDERS.get(device, device)] if device != "auto" else list(PROVIDERS.values())
    providers = [provider for provider in wanted if provider in here]
    if not providers:
        raise UsageError(f"--device: onnxruntime has no {device} here; use --device cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.log_severity_level = 3  # errors; what fails is raised, too
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no common kind
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{path} cannot be run ({reason}): export it again") from error
