"""The models of the demo: found at start-up, each loaded on first use."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from agecli.config import Device
from agecli.errors import AgecliError, WeightsError
from agecli.inference.fitted import Found, find_fitted
from agecli.inference.model import Model
from agecli.inference.pictures import Reading, View
from agecli.inference.prediction import Prediction
from agecli.inference.predictor import Predictor, Said, with_ensemble
from agecli.video.people import People
from agecli.weights import ONNX, Metadata, find_weights, named_weights, read_metadata

from .threads import run

STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "head.mean", "head.scale")
"""Suffixes of tensors in a weights file that are not parameters."""


PLAIN = {
    "cnn": "finds patterns in four steps",
    "capsnet": "puts the face together from its parts",
    "resnet": "finds patterns in many small steps",
    "dinov2": "compares patches of the face",
}
"""The models in words for laypeople."""


class Contender:
    """A weights file: a model, or the error that says why it cannot be used."""

    def __init__(self, path: Path, device: Device = "auto") -> None:
        self.path = path
        self.name = path.parent.name if path.stem == "best" else path.stem
        self.error: str | None = None
        self.metadata: Metadata | None = None
        self._lock = threading.Lock()
        try:
            self.metadata = read_metadata(path)
            self._predictor = Predictor([path], device=device)
        except AgecliError as error:
            self._fail(error)

    @property
    def title(self) -> str:
        """Return the model's title, in plain words."""
        if not self.metadata:
            return self.path.name
        return PLAIN.get(self.metadata.model, self.metadata.described)

    @property
    def views(self) -> set[View]:
        """Return the model's input."""
        return self._predictor.views if self.metadata and not self.error else set()

    @property
    def model(self) -> Model:
        """Return the loaded model. Raises AgecliError for an unusable file."""
        with self._lock:  # the first caller loads it, the others wait
            if self.error:
                raise WeightsError(self.error)
            try:
                return self._predictor.models[0]
            except AgecliError as error:
                self._fail(error)
                raise WeightsError(self.error) from error

    def answer(self, readings: Sequence[Reading]) -> tuple[Said, float]:
        """Predict faces like `agecli predict`; return the seconds that the model took, too.

        Raises AgecliError if it fails.
        """
        _ = self.model  # loaded before the clock starts
        return run(self._timed, readings)

    def follow(self, most: int) -> People:
        """Return a tracker that predicts people in a stream by their last frames."""
        return People(self._predictor, "camera", most)

    def _timed(self, readings: Sequence[Reading]) -> tuple[Said, float]:
        began = time.perf_counter()
        said = self._predictor.ask(self.model, readings)
        return said, time.perf_counter() - began

    @cached_property
    def digest(self) -> str:
        """Return the first eight digits of the file's SHA-256."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:8]

    @cached_property
    def parameters(self) -> int | None:
        """Return the file's number of parameters, without loading; None for an exported model."""
        if self.path.suffix == ONNX:
            return None
        from math import prod

        from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            names = [name for name in file.keys() if not name.endswith(STATISTICS)]  # noqa: SIM118
            return sum(prod(file.get_slice(name).get_shape()) for name in names)

    def _fail(self, error: AgecliError) -> None:
        self.error = str(error).replace(str(self.path), self.path.name)


def find_contenders(names: Iterable[str | Path] = (), device: Device = "auto") -> list[Contender]:
    """Find weights files: the released ones, or those of files, folders and released names.

    The best member of a fitted ensemble comes first.
    Raises WeightsError if there are none.
    """
    names = list(names)
    paths = [path for name in names for path in named_weights(name)] or find_weights()
    paths = list(dict.fromkeys(paths))
    if fitted := find_ensemble(*paths).fitted:
        paths = fitted.sort(paths)
    contenders = [Contender(path, device) for path in paths]
    taken = [contender.name for contender in contenders]
    for contender in contenders:
        if taken.count(contender.name) > 1:
            contender.name = f"{contender.name} {contender.path.parent.name}"
    return contenders


@lru_cache
def find_ensemble(*paths: Path) -> Found:
    """Find the ensemble fitted for weights files, once."""
    return find_fitted(paths)


def add_ensemble(said: Mapping[Contender, Said]) -> list[list[Prediction]]:
    """Return the rows of contenders, and of their ensemble, in the order of `agecli predict`."""
    paths = [contender.path for contender in said]
    return with_ensemble(find_ensemble(*paths).fitted, paths, [*said.values()])


def make_reader(contenders: Iterable[Contender]) -> Predictor | None:
    """Return a predictor that detects and crops faces for all working models, or None."""
    paths = [contender.path for contender in contenders if not contender.error]
    return Predictor(paths) if paths else None
