"""Exported models, run by onnxruntime; torch stays unloaded. The home of onnxruntime."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agecli.ages import FloatArray
from agecli.config import FLIP, Device
from agecli.data.images import square
from agecli.errors import AgecliError, UsageError, WeightsError, brief
from agecli.inference.model import Model
from agecli.weights import read_metadata

INSTALL = 'pip install "agecli[onnx]"'

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""onnxruntime's names of the devices, the best first."""


class OnnxModel(Model):
    """An ONNX file of `agecli export`: it takes raw crops, and returns probabilities.

    Raises AgecliError without onnxruntime, UsageError for an unavailable device, WeightsError
    for a file that it cannot run.
    """

    def __init__(self, path: Path, device: Device = "auto") -> None:
        super().__init__(read_metadata(path), path)
        self._session = _open(path, device)
        self._output = "years" if self.metadata.knows_years else "probabilities"
        self._check_shapes()

    def distributions(self, images: np.ndarray, flip: bool = FLIP) -> FloatArray:
        """Return (N, outputs) for uint8 crops (N, S, S, 3), as in `Model.distributions`."""
        size = self.metadata.image_size
        if images.shape[1] != size:
            images = np.stack([square(Image.fromarray(image), size) for image in images])
        if flip:
            images = np.concatenate([images, images[:, :, ::-1]])  # (2N, size, size, 3)
        answers = self._run(np.ascontiguousarray(images)).astype(np.float64)
        if flip:
            answers = answers.reshape(2, -1, answers.shape[1]).mean(axis=0)
        return answers  # (N, outputs)

    def _run(self, images: np.ndarray) -> np.ndarray:
        try:
            return self._session.run([self._output], {"images": images})[0]
        except Exception as error:  # its errors have no common kind
            raise WeightsError(
                f"{self.path} cannot be run ({brief(error)}): export it again"
            ) from error

    def _check_shapes(self) -> None:
        """Raise WeightsError for a network whose inputs or outputs contradict its metadata."""
        size, outputs = self.metadata.image_size, self.metadata.architecture["outputs"]
        takes = [(one.name, one.type, one.shape[1:]) for one in self._session.get_inputs()]
        answers = {one.name: (one.type, one.shape[1:]) for one in self._session.get_outputs()}
        wanted = ("tensor(float)", [outputs])
        if takes != [("images", "tensor(uint8)", [size, size, 3])]:
            wrong = f"takes {takes}, not images of {size} px"
        elif answers.get(self._output) != wanted:
            wrong = f"returns {answers}, not {outputs} {self._output}"
        else:
            return
        raise WeightsError(f"{self.path} {brief(wrong)}: export it again")


def _open(path: Path, device: Device) -> Any:
    """Start a session on a device, with as many threads as torch would use."""
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
    options.log_severity_level = 3  # errors; failures are raised, too
    try:
        with redirect_stdout(io.StringIO()):  # it prints its retries
            return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no common kind
        reason = brief(error)
        raise WeightsError(f"{path} cannot be run ({reason}): export it again") from error
