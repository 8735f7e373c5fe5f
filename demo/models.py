"""The models of the demo: found at start, each loaded once, when it is first asked."""

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
"""What a weights file holds beside the parameters."""


PLAIN = {
    "cnn": "finds patterns in four steps",
    "capsnet": "puts the face together from its parts",
    "resnet": "finds patterns in many small steps",
    "dinov2": "compares patches of the face",
}
"""What the models are, for those who do not know the field."""


class Contender:
    """A weights file: a model that answers, or an error that says why it cannot."""

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
        """What the model is, in plain words."""
        if not self.metadata:
            return self.path.name
        return PLAIN.get(self.metadata.model, self.metadata.described)

    @property
    def views(self) -> set[View]:
        """How the model wants its faces."""
        return self._predictor.views if self.metadata and not self.error else set()

    @property
    def model(self) -> Model:
        """The loaded model. Raises AgecliError for a file that cannot be used."""
        with self._lock:  # the first to ask loads it, the others wait
            if self.error:
                raise WeightsError(self.error)
            try:
                return self._predictor.models[0]
            except AgecliError as error:
                self._fail(error)
                raise WeightsError(self.error) from error

    def answer(self, readings: Sequence[Reading]) -> tuple[Said, float]:
        """Answer for faces as `agecli predict` does; with the seconds that the model took.

        Raises AgecliError where it cannot.
        """
        _ = self.model  # loaded before the clock starts
        return run(self._timed, readings)

    def follow(self, most: int) -> People:
        """Return what follows people through a stream, and answers by their last frames."""
        return People(self._predictor, "camera", most)

    def _timed(self, readings: Sequence[Reading]) -> tuple[Said, float]:
        began = time.perf_counter()
        said = self._predictor.ask(self.model, readings)
        return said, time.perf_counter() - began

    @cached_property
    def digest(self) -> str:
        """The first eight digits of the file's SHA-256."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:8]

    @cached_property
    def parameters(self) -> int | None:
        """Parameters that the file holds, without loading them; None for an exported model."""
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

    Of a fitted ensemble's members, the best is the first.
    Raises WeightsError where there are none.
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
    """Find the ensemble that was fitted for weights files, as they were when first asked for."""
    return find_fitted(paths)


def add_ensemble(said: Mapping[Contender, Said]) -> list[list[Prediction]]:
    """Return the rows of contenders, and of their ensemble, in the order of `agecli predict`."""
    paths = [contender.path for contender in said]
    return with_ensemble(find_ensemble(*paths).fitted, paths, [*said.values()])


def make_reader(contenders: Iterable[Contender]) -> Predictor | None:
    """Return what finds faces and crops them for all models that work; None where none does."""
    paths = [contender.path for contender in contenders if not contender.error]
    return Predictor(paths) if paths else None
