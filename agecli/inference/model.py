"""What the predictor and the evaluation ask of a model, whatever runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from agecli.ages import Answers, FloatArray, Scheme
from agecli.config import FLIP
from agecli.errors import WeightsError
from agecli.weights import Metadata


class Model(ABC):
    """A model ready to answer, with all that its file says of it."""

    def __init__(self, metadata: Metadata, path: Path | None = None) -> None:
        self.metadata = metadata
        self.path = path
        self.name = metadata.model
        self.scheme = Scheme.parse(metadata.scheme)

    @abstractmethod
    def distributions(self, images: np.ndarray, flip: bool = FLIP) -> FloatArray:
        """Return the distribution (N, outputs), over groups or years, of face crops.

        images: uint8 (N, S, S, 3) of any S; they are resized as PIL's BILINEAR does. flip: average
        the answers for each image and its mirror image.
        """

    def interpret(self, distribution: FloatArray) -> Answers:
        """Read distributions (N, outputs) as this model's. Raises WeightsError where one is NaN."""
        if not np.isfinite(distribution).all():
            raise WeightsError(f"{self.path} answers NaN, its training went astray: train it again")
        return Answers(distribution, self.scheme, self.metadata.knows_years)

    def answer(self, images: np.ndarray, flip: bool = FLIP, batch_size: int = 64) -> Answers:
        """Answer for face crops (N, S, S, 3), a batch at a time; otherwise as `distributions`."""
        batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
        return self.interpret(np.concatenate([self.distributions(b, flip=flip) for b in batches]))
