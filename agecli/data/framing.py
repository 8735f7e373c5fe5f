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
from agecli.data.sources import read_members
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
    origins: Mapping[Path, Origin], samples: Mapping[Path, Sequence[str]], crop: Crop | None,
    judge: Judge | None,
) -> dict[Path, Origin]:  # fmt: skip
    """Say for each source whether its pictures are cropped.

    samples: names of pictures, of the sources that do not say that they are aligned. judge: looks
    at some pictures of each; without one, all are cropped where there is a `crop`.
    """
    return {
        path: replace(origin, cropped=verdict.crop, why=verdict.why)
        for path, origin in origins.items()
        for verdict in [_verdict(path, samples.get(path), crop, judge)]
    }


def _verdict(
    path: Path, sample: Sequence[str] | None, crop: Crop | None, judge: Judge | None
) -> Verdict:
    if not crop or not judge:
        return Verdict(crop is not None, "as told")
    if sample is None:
        return Verdict(False, "their names say that they are aligned chips")
    return judge(_pictures(path, sample[:JUDGED]))


def _pictures(path: Path, names: Sequence[str]) -> Iterator[Image.Image]:
    """Read those of the named pictures that can be read."""
    left = len(names)
    for _, data in read_members(path, set(names)):
        with suppress(ImageError):
            if isinstance(data, bytes):
                yield read_image(data)
        left -= 1
        if not left:
            return
