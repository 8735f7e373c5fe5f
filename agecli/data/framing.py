"""Whether a source has cropped faces already, or pictures in which they have to be found."""

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
"""Pictures of a source by which it is judged."""

Crop = Callable[[Image.Image], Image.Image | None]
"""Finds the face in a photograph."""


class Verdict(NamedTuple):
    """Whether the faces of pictures are to be cropped, and why."""

    crop: bool
    why: str


Judge = Callable[[Iterator[Image.Image]], Verdict]


def decide(
    origins: Mapping[Path, Origin], samples: Mapping[Path, Sequence[Place]], crop: Crop | None,
    judge: Judge | None,
) -> dict[Path, Origin]:  # fmt: skip
    """Say for each source whether its pictures are cropped.

    samples: some pictures of the sources that do not say that they are aligned. judge: looks
    at some pictures of each; without one, all are cropped where there is a `crop`.
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
    """Read those of the pictures that can be read."""
    for place in places:
        with suppress(ImageError):
            yield read_image(read(place))
