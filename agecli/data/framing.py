"""Whether a source's images are cropped faces, or photographs in which to detect them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from agecli.data.images import read_image
from agecli.data.receipt import Origin
from agecli.data.sources import Place, read
from agecli.errors import ImageError

JUDGED = 64
"""Images of a source by which it is judged."""

Crop = Callable[[Image.Image], Image.Image | None]
"""Returns the cropped face of a photograph, or None without a detection."""


class Verdict(NamedTuple):
    """Whether the faces of a source's images are to be cropped, and why."""

    crop: bool
    why: str


Judge = Callable[[Iterator[Image.Image]], Verdict]


def decide(
    origins: Mapping[Path, Origin], samples: Mapping[Path, Sequence[Place]], crop: Crop | None,
    judge: Judge | None,
) -> dict[Path, Origin]:  # fmt: skip
    """Return for each source whether its images are to be cropped.

    samples: some images of the sources whose names do not say that they are aligned. judge: looks
    at some images of each; without one, all are cropped if there is a `crop`.
    """
    return {
        path: replace(origin, cropped=verdict.crop, why=verdict.why)
        for path, origin in origins.items()
        for verdict in [_verdict(samples.get(path), crop, judge)]
    }


def _verdict(sample: Sequence[Place] | None, crop: Crop | None, judge: Judge | None) -> Verdict:
    if not crop or not judge:
        return Verdict(crop is not None, "as told")
    if sample is None:
        return Verdict(False, "their names say that they are aligned chips")
    return judge(_pictures(sample[:JUDGED]))


def _pictures(places: Sequence[Place]) -> Iterator[Image.Image]:
    """Yield the images that can be read."""
    for place in places:
        with suppress(ImageError):
            yield read_image(read(place))
