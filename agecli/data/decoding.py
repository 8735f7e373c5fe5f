"""From an image's file to its row: decoded, checked, resized, hashed and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.data.columns import Column
from agecli.data.framing import Crop
from agecli.data.images import fit, read_image
from agecli.data.sources import Place, read
from agecli.data.store import StoreFile
from agecli.errors import ImageError

DIGEST = np.dtype((np.uint8, 32))


class Task(NamedTuple):
    """An image to decode."""

    row: int
    place: Place
    cropped: bool
    """Whether to store a crop of its largest face."""


@dataclass(frozen=True)
class Decoder:
    """Decodes images into the rows of a data set's files, in worker processes."""

    images: StoreFile
    digests: Column
    """(N, 32) SHA-256 of the images' files."""
    traces: Column
    """(N,) traces to find near duplicates; zeros for an image that is left out."""
    fingerprint: Callable[[Image.Image], np.ndarray]
    trace: Callable[[np.ndarray], np.ndarray]
    """Those of a `Measure`."""
    crop: Crop | None

    def __call__(self, tasks: Sequence[Task]) -> list[str]:
        """Decode images of consecutive rows; return why each is left out, or ""."""
        first = tasks[0].row
        digests = np.zeros((len(tasks), 32), np.uint8)
        traces = np.zeros(len(tasks), self.traces.dtype)
        prints: dict[int, np.ndarray] = {}
        reasons = []
        with self.images.writer() as write:
            for number, task in enumerate(tasks):
                content, reason = _read(task.place)
                digests[number] = digest_of(content)
                face, reason = (None, reason) if reason else self._decode(content, task.cropped)
                if face:
                    image = fit(face, self.images.size)
                    whole = image is face and not task.cropped
                    write(task.row, image, content if whole else None)
                    prints[number] = self.fingerprint(image)
                reasons.append(reason)
        if prints:
            traces[[*prints]] = self.trace(np.array([*prints.values()]))
        self.digests[first] = digests
        self.traces[first] = traces
        return reasons

    def lose(self, task: Task, reason: str) -> str:
        """Record an image that crashes its workers; return why it is left out."""
        self.digests[task.row] = digest_of(_read(task.place)[0])
        return f"unreadable: {reason}"

    def _decode(self, content: bytes, cropped: bool) -> tuple[Image.Image | None, str]:
        try:
            image = read_image(content)
        except ImageError as error:
            return None, f"unreadable: {error}"
        face = self.crop(image) if cropped and self.crop else image
        return (face, "") if face else (None, "no face found")


def warm_up(tasks: Sequence[Task]) -> list[str]:
    """Import what decoding needs, and do nothing else."""
    return []


def digest_of(content: bytes) -> NDArray[np.uint8]:
    """Compute the SHA-256 (32,) of a file."""
    return np.frombuffer(sha256(content).digest(), np.uint8)


def _read(place: Place) -> tuple[bytes, str]:
    """Return an image's file and "", or nothing and the reason why it is unreadable."""
    try:
        return read(place), ""
    except ImageError as error:
        return b"", f"unreadable: {error}"
