"""From images to age groups, for the command line, the demo and the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agecli.ages import Answers
from agecli.config import (
    DETECTOR,
    EARLIER_DETECTORS,
    FACE_MARGIN,
    FLIP,
    MIN_FACE_SCORE,
    Align,
    Device,
    Fallback,
)
from agecli.decision import Decision
from agecli.errors import UsageError, WeightsError
from agecli.faces import Face
from agecli.faces.detector import load_detector
from agecli.inference.fitted import ENSEMBLE, Fitted
from agecli.inference.flaws import find_flaws
from agecli.inference.model import Model
from agecli.inference.pictures import DetectionConfig, Picture, Reading, View, read_pictures
from agecli.inference.prediction import Prediction, name_answer
from agecli.inference.pytorch import LoadedModel, find_device
from agecli.memory import keep_freed_memory
from agecli.registry import DEFAULT_MODEL
from agecli.sets import COVERAGE, COVERAGES
from agecli.weights import (
    ONNX,
    Metadata,
    find_weights,
    load_weights,
    named_weights,
    read_metadata,
)

AGE_ENDS = ("age_low", "age_high")
PICTURES_PER_FACE = 16
"""Most images that wait until their faces fill a batch."""


class Predictor:
    """Detects the faces in images and predicts their age groups.

        for prediction in Predictor().predict(["family.jpg"]):
            print(prediction.group, prediction.face)

    weights: one or several released models' names, runs, weights files, or folders of them; or
    "all", the released ones. crops: the images are face crops: skip detection, and use them
    as they are. fallback: "centre" predicts from the whole image if no face is detected. align:
    "points" aligns each face by its eyes, nose and mouth before it is cropped,
    "none" crops the detector's box. min_face_score: detections below it, 0 to 1, are dropped.
    flip: average over each face and its mirror image. batch_size: faces per step of the model.
    workers: processes that read images and detect faces beside the model; a script that uses them
    needs the usual `if __name__ == "__main__":`. ensemble: from `find_fitted` for these
    weights; its predictions come before the models' if it is better than each of them, else after
    them. coverage: how often the age sets have to contain the true age, one of
    `agecli.sets.COVERAGES`.

    Raises UsageError for an unknown name, device or choice, WeightsError for files that are
    missing or not agecli's.
    """

    def __init__(
        self,
        weights: Iterable[Path | str] | Path | str = DEFAULT_MODEL,
        *,
        device: Device = "auto",
        crops: bool = False,
        fallback: Fallback = "none",
        align: Align = "points",
        min_face_score: float = MIN_FACE_SCORE,
        flip: bool = FLIP,
        batch_size: int = 64,
        workers: int = 0,
        ensemble: Fitted | None = None,
        coverage: float = COVERAGE,
    ) -> None:
        if coverage not in COVERAGES:
            *some, last = map(str, COVERAGES)
            raise UsageError(f"--coverage: {coverage:g} is not one of {', '.join(some)} and {last}")
        self._detection = DetectionConfig(crops, fallback, align, min_face_score)
        names = [weights] if isinstance(weights, Path | str) else weights
        self._paths = find_weights() if weights == "all" else named_weights(*names)
        self._metadata = [read_metadata(path) for path in self._paths]
        for path, metadata in zip(self._paths, self._metadata, strict=True):
            if (detector := metadata.crop.get("detector")) not in {DETECTOR, *EARLIER_DETECTORS}:
                raise WeightsError(f"{path} needs the face detector {detector!r}: upgrade agecli")
        if not crops:
            load_detector()  # in each worker again: here for its errors
        self._device, self._flip, self._workers = device, flip, workers
        self._ensemble, self._coverage = ensemble, coverage
        self._batch_size = max(1, batch_size)

    @cached_property
    def models(self) -> list[Model]:
        """Return the models, loaded on first use, while the workers detect the first faces."""
        models = [load_model(path, self._device) for path in self._paths]
        names = [model.name for model in models]
        for model in models:
            if names.count(model.name) > 1:
                model.name = str(model.path)
        return models

    def predict(self, sources: Iterable[Picture]) -> Iterator[Prediction]:
        """Yield a Prediction per face and model, or one for an image without any.

        In the order of the sources, which are read as needed: any number of images needs the
        memory of a few batches.
        """
        batch: list[Reading] = []
        faces = 0
        for reading in self.read(sources):
            batch.append(reading)
            faces += len(reading.faces)
            if faces >= self._batch_size or len(batch) >= PICTURES_PER_FACE * self._batch_size:
                yield from self.answer(batch)
                batch, faces = [], 0
        yield from self.answer(batch)

    @property
    def groups(self) -> list[str]:
        """Return all age groups of its models, in the order of the models."""
        return list(dict.fromkeys(group for meta in self._metadata for group in meta.scheme))

    @property
    def decisions(self) -> list[Decision]:
        """Return the decision rules of a face's predictions, in order."""
        rules = [metadata.decision for metadata in self._metadata]
        if fitted := self._ensemble:
            rules.insert(fitted.place(len(rules)), fitted.decision)
        return rules

    @property
    def views(self) -> set[View]:
        """Return the inputs that the models need."""
        return {_view(metadata) for metadata in self._metadata}

    def read(self, sources: Iterable[Picture]) -> Iterator[Reading]:
        """Yield the faces of each image, cropped for the models."""
        return read_pictures(sources, self.views, detection=self._detection, workers=self._workers)

    def answer(self, batch: Sequence[Reading]) -> Iterator[Prediction]:
        """Yield the predictions of `predict` for images that were read with these views."""
        answered = [reading for reading in batch if reading.faces]
        said = [self.ask(model, answered) for model in self.models] if answered else []
        columns = with_ensemble(self._ensemble, self._paths, said)
        rows = zip(*columns, strict=True)  # per face: a Prediction of each model
        for reading in batch:
            if not reading.faces:
                yield Prediction(reading.source, status=reading.status, error=reading.error)
            for _ in reading.faces:
                yield from next(rows)

    def ask(self, model: Model, readings: Sequence[Reading]) -> Said:
        """Run one of its models on the faces of readings, a batch at a time."""
        images = np.concatenate([reading.crops[_view(model.metadata)] for reading in readings])
        answers = model.answer(images, self._flip, self._batch_size)
        seen: Sequence[bool | None] = model.has_seen(images) or [None] * len(images)
        asked = Asked(
            [(reading.source, face) for reading in readings for face in reading.faces],
            [side for reading in readings for side in reading.sides],
            images,
            self._coverage,
        )
        return Said(_rows(asked, model.name, answers, seen), answers, asked)


@dataclass(frozen=True)
class Asked:
    """The faces to predict."""

    faces: list[tuple[str, Face | None]]
    """Each face in its source."""
    sides: list[float]
    """Sides of their boxes, in pixels of the sources."""
    crops: np.ndarray
    """uint8 (faces, size, size, 3), as the model sees them."""
    coverage: float
    """Coverage of the age sets."""


@dataclass(frozen=True)
class Said:
    """A model's predictions for some faces."""

    rows: list[Prediction]
    answers: Answers
    """The predictions from which the rows are made."""
    asked: Asked


def with_ensemble(
    fitted: Fitted | None, paths: Sequence[Path], said: Sequence[Said]
) -> list[list[Prediction]]:
    """Return the rows of models, and those of the ensemble fitted for some of them.

    said: the predictions of these files' models for the same faces. The ensemble comes first
    if it is better than each of its members, else last; it has seen a face if any of them has.
    """
    columns = [one.rows for one in said]
    if fitted and said:
        faces = zip(*(columns[place] for place in fitted.find(paths)), strict=True)
        known = [{row.seen for row in rows} for rows in faces]
        seen = [True if True in some else None if None in some else False for some in known]
        answers = fitted.combine(paths, [one.answers for one in said])
        joint = _rows(said[0].asked, ENSEMBLE, answers, seen)
        columns.insert(fitted.place(len(columns)), joint)
    return columns


def _rows(
    asked: Asked, name: str, answers: Answers, seen: Sequence[bool | None]
) -> list[Prediction]:
    """Return the predictions of a model for faces in images."""
    ages = [None] * len(seen) if answers.ages is None else answers.ages
    spans = _spans(asked, answers)
    return [
        Prediction(
            source, face, name, seen=known, **span,
            **name_answer(answers.scheme.labels, chances, age, answers.decision),
        )
        for (source, face), known, chances, age, span in zip(
            asked.faces, seen, answers.groups, ages, spans, strict=True
        )
    ]  # fmt: skip


def _spans(asked: Asked, answers: Answers) -> list[dict[str, Any]]:
    """Return the fields of the age sets, and of confidence; none without sets."""
    sets, places = answers.sets, range(len(asked.faces))
    if not sets:
        return [{} for _ in places]
    groups, years = sets.limits(answers, asked.sides, asked.coverage)
    labels, sure = answers.scheme.labels, sets.sure(answers)
    return [
        {
            "set": tuple(labels[groups[place, 0] : groups[place, 1] + 1]),
            **({} if years is None else dict(zip(AGE_ENDS, years[place].tolist(), strict=True))),
            "coverage": asked.coverage,
            "sure": bool(sure[place]),
            "flaws": () if sure[place] else find_flaws(asked.crops[place], asked.sides[place]),
        }
        for place in places
    ]


def load_model(path: Path, device: Device = "auto") -> Model:
    """Load a weights file's model: run by torch, or an ONNX file by onnxruntime.

    The process keeps the memory that it frees, which cuts a step's time by a third.
    Raises UsageError for an unavailable device, and the errors of `load_weights` or `OnnxModel`.
    """
    keep_freed_memory()
    if path.suffix == ONNX:
        from agecli.inference.onnx import OnnxModel

        return OnnxModel(path, device)
    from agecli.models.blocks import fold, to_channels_last

    place = find_device(device)
    module, metadata = load_weights(path)
    fold(module)
    return LoadedModel(to_channels_last(module.to(place)), metadata, path, place)


def _view(metadata: Metadata) -> View:
    return metadata.image_size, float(metadata.crop.get("margin", FACE_MARGIN))
