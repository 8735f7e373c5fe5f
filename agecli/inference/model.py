"""The interface of a model, whatever its backend, for the predictor and the evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np

from agecli.ages import Answers, FloatArray, Scheme
from agecli.config import FLIP
from agecli.data.seen import Seen, fingerprints
from agecli.errors import WeightsError
from agecli.weights import Metadata, read_fingerprints


class Model(ABC):
    """A model ready to predict, with its file's metadata."""

    def __init__(self, metadata: Metadata, path: Path | None = None) -> None:
        self.metadata = metadata
        self.path = path
        self.name = metadata.model
        self.scheme = Scheme.parse(metadata.scheme)

    @abstractmethod
    def distributions(self, images: np.ndarray, flip: bool = FLIP) -> FloatArray:
        """Return the distribution (N, outputs), over groups or years, of face crops.

        images: uint8 (N, S, S, 3) of any S; they are resized like PIL's BILINEAR. flip: average
        the predictions for each image and its mirror image.
        """

    @cached_property
    def _seen(self) -> Seen | None:
        prints = read_fingerprints(self.path) if self.path else None
        return None if prints is None else Seen(prints)

    def has_seen(self, images: np.ndarray) -> list[bool] | None:
        """Return which of face crops (N, S, S, 3) it has seen, or near copies; None if unknown.

        Raises WeightsError for invalid fingerprints.
        """
        return None if self._seen is None else self._seen.knows(fingerprints(images)).tolist()

    def interpret(self, distribution: FloatArray) -> Answers:
        """Interpret distributions (N, outputs) of this model. Raises WeightsError for NaN."""
        if not np.isfinite(distribution).all():
            raise WeightsError(f"{self.path} outputs NaN: its training diverged, train it again")
        meta = self.metadata
        return Answers(distribution, self.scheme, meta.knows_years, meta.decision, meta.sets)

    def answer(self, images: np.ndarray, flip: bool = FLIP, batch_size: int = 64) -> Answers:
        """Predict face crops (N, S, S, 3), a batch at a time; otherwise like `distributions`."""
        batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
        return self.interpret(np.concatenate([self.distributions(b, flip=flip) for b in batches]))
