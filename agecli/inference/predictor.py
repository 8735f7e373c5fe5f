"""From pictures to age groups: find faces, crop, run the models, one row per face and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import FloatArray, Scheme, expected_ages, group_probabilities, softmax
from agecli.config import DETECTOR
from agecli.data.images import read_image, square
from agecli.data.workers import WorkerPool
from agecli.errors import ImageError, UsageError, WeightsError
from agecli.inference import faces
from agecli.weights import Metadata, find_weights, load_weights, read_metadata

if TYPE_CHECKING:
    from torch import Tensor, nn

Source = Path | str | Image.Image | NDArray[np.uint8]
Status = Literal["ok", "no_face", "unreadable"]

_PIECE = 8
"""Pictures a worker takes at a time."""


@dataclass(frozen=True)
class Prediction:
    """One row of an answer: a face and a model, or a picture without an answer."""

    source: str
    face: dict[str, Any] | None
    """box (left, top, right, bottom in pixels of the upright picture) and the detector's score."""
    model: str | None
    group: str | None
    probability: float | None
    probabilities: dict[str, float] | None
    age: float | None
    """Expected age in years, where the model's objective gives one."""
    status: Status
    error: str | None = None


@dataclass(frozen=True)
class Found:
    """What a worker found in a picture: faces, and a crop of each in every wanted size."""

    faces: list[faces.Face | None]
    """None stands for a whole picture that is taken as a crop."""
    crops: list[dict[int, NDArray[np.uint8]]]
    status: Status = "ok"
    error: str | None = None


@dataclass(frozen=True)
class Framing:
    """How faces are cut out of pictures."""

    sizes: tuple[int, ...]
    margin: float
    crops: bool = False
    fallback: Literal["none", "centre"] = "none"


class LoadedModel:
    """A model ready to answer, with the metadata that says how its images must look."""

    def __init__(
        self, module: nn.Module, metadata: Metadata, path: Path | None, device: str = "cpu"
    ) -> None:
        import torch

        self.metadata, self.path, self.device = metadata, path, device
        self.name = metadata.model
        self.scheme = Scheme.parse(metadata.scheme)
        self.module = module.to(device, memory_format=torch.channels_last).eval()

    def distributions(self, images: NDArray[np.uint8], flip: bool = True) -> FloatArray:
        """Give the probabilities (N, outputs) of square uint8 images (N, S, S, 3).

        flip: average the answers for each image and its mirror image.
        """
        import torch

        from agecli.data.batches import to_input

        meta = self.metadata
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            batch = to_input(pixels, meta.image_size, meta.mean, meta.std)
            answers = [self._answer(batch)]
            if flip:
                answers.append(self._answer(batch.flip(3)))
        return np.mean(answers, axis=0)

    def _answer(self, batch: Tensor) -> FloatArray:
        return softmax(self.module(batch).float().cpu().numpy(), self.metadata.temperature)


class Predictor:
    """Tells the age groups of the faces in pictures, with one model or several.

    >>> from agecli import Predictor
    >>> for row in Predictor("cnn").predict(["face.jpg"]):
    ...     print(row.source, row.group, row.age)

    weights: a model's name (of the released weights), "all", or weights files. crops: pictures are
    face crops already. fallback: what a picture without a face gets; "centre" takes all of it.
    flip: average over the mirror image. workers: processes that decode and detect beside the
    model; 0 does it in this one. Raises WeightsError for files that cannot be used.
    """

    def __init__(
        self,
        weights: str | Iterable[Path | str] = "all",
        *,
        device: str = "auto",
        crops: bool = False,
        fallback: Literal["none", "centre"] = "none",
        flip: bool = True,
        batch_size: int = 32,
        workers: int = 0,
    ) -> None:
        paths = find_weights(weights) if isinstance(weights, str) else [Path(p) for p in weights]
        metadata = [read_metadata(path) for path in paths]
        if foreign := [m for m in metadata if m.crop.get("detector") != DETECTOR]:
            raise WeightsError(
                f"{foreign[0].model} wants faces from {foreign[0].crop.get('detector')!r}, which "
                "this agecli has not: upgrade agecli"
            )
        # The faces of the first piece can be looked for while torch is being loaded.
        self._pool = WorkerPool(workers) if workers else None
        self._paths, self._device = paths, device
        self._models: list[LoadedModel] | None = None
        self.flip, self.batch_size = flip, batch_size
        margins = {m.crop["margin"] for m in metadata}
        if len(margins) > 1:
            raise WeightsError("The weights files want different crops: use one --model at a time")
        self.framing = Framing(
            sizes=tuple(sorted({m.image_size for m in metadata})),
            margin=margins.pop(),
            crops=crops,
            fallback=fallback,
        )

    @property
    def models(self) -> list[LoadedModel]:
        """Give the models, loaded when first asked for."""
        if self._models is None:
            device = choose_device(self._device)
            self._models = []
            for path in self._paths:
                module, metadata = load_weights(path)
                self._models.append(LoadedModel(module, metadata, path, device))
        return self._models

    def predict(self, sources: Iterable[Source]) -> Iterator[Prediction]:
        """Answer for pictures (paths, PIL images or RGB arrays), in order, one after another.

        Yields a row per face and model, and one row for a picture without an answer, which says
        why. Holds only a few pictures at a time, however many there are.
        """
        waiting: list[tuple[str, Found]] = []
        count = 0
        for name, found in self._find_all(sources):
            waiting.append((name, found))
            count += len(found.crops)
            if count >= self.batch_size:
                yield from self._answer(waiting)
                waiting, count = [], 0
        yield from self._answer(waiting)

    def close(self) -> None:
        """Stop the workers."""
        if self._pool:
            self._pool.__exit__()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_all(self, sources: Iterable[Source]) -> Iterator[tuple[str, Found]]:
        look = partial(_look_at, self.framing)
        pieces = _pieces(sources, _PIECE)
        if self._pool:
            for piece in self._pool.map(look, pieces):
                yield from piece
        else:
            # One picture is looked at while torch and the models load.
            with ThreadPoolExecutor(1) as thread:
                for piece in pieces:
                    job = thread.submit(look, piece)
                    _ = self.models
                    yield from job.result()

    def _answer(self, waiting: list[tuple[str, Found]]) -> Iterator[Prediction]:
        crops = [crop for _, found in waiting for crop in found.crops]
        answers = [self._run(model, crops) for model in self.models] if crops else []
        position = 0
        for name, found in waiting:
            if not found.crops:
                yield Prediction(
                    name, None, None, None, None, None, None, found.status, found.error
                )
            for face in found.faces:
                for model, (probabilities, ages) in zip(self.models, answers, strict=True):
                    row = probabilities[position]
                    yield Prediction(
                        source=name,
                        face=face and {"box": [round(v, 1) for v in face.box],
                                       "score": round(face.score, 3)},
                        model=model.name,
                        group=model.scheme.labels[int(row.argmax())],
                        probability=float(row.max()),
                        probabilities=dict(zip(model.scheme.labels, row.tolist(), strict=True)),
                        age=None if ages is None else float(ages[position]),
                        status="ok",
                    )  # fmt: skip
                position += 1

    def _run(
        self, model: LoadedModel, crops: list[dict[int, NDArray[np.uint8]]]
    ) -> tuple[FloatArray, FloatArray | None]:
        distributions = []
        for start in range(0, len(crops), self.batch_size):
            batch = crops[start : start + self.batch_size]
            images = np.stack([crop[model.metadata.image_size] for crop in batch])
            distributions.append(model.distributions(images, self.flip))
        distribution = np.concatenate(distributions)
        return group_probabilities(distribution, model.scheme), expected_ages(distribution)


def choose_device(device: str) -> str:
    """Resolve "auto" to cuda, mps or cpu; raises UsageError for a device that is not here."""
    import torch

    have = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device == "auto":
        return next((name for name, there in have.items() if there()), "cpu")
    if device in have and not have[device]():
        raise UsageError(f"--device: no {device} device here; use --device auto")
    return device


def _pieces(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    iterator = iter(sources)
    while piece := list(islice(iterator, size)):
        yield piece


def _look_at(framing: Framing, sources: list[Source]) -> list[tuple[str, Found]]:
    """Decode pictures, find and crop their faces; runs in a worker, without torch."""
    return [(_name(source), _find(framing, source)) for source in sources]


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path | str) else "<image>"


def _find(framing: Framing, source: Source) -> Found:
    try:
        if isinstance(source, np.ndarray):
            source = Image.fromarray(source)
        image = read_image(Path(source) if isinstance(source, str) else source)
    except ImageError as error:
        return Found([], [], "unreadable", str(error))
    whole = {size: square(image, size) for size in framing.sizes}
    if framing.crops:
        return Found([None], [whole])
    found = faces.detect(image)
    if found:
        boxes = [faces.crop_box(face.box, framing.margin) for face in found]
        return Found(
            list(found),
            [{size: faces.crop_face(image, box, size) for size in framing.sizes} for box in boxes],
        )
    if framing.fallback == "centre":
        return Found([None], [whole])
    return Found([], [], "no_face", "no face found")
