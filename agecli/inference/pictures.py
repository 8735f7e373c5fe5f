"""Find the images that a user names, and crop their faces for models.

Without torch: worker processes import this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from agecli import distributed
from agecli.config import FACE_MARGIN, MIN_FACE_SCORE, Align, Fallback
from agecli.data.images import read_image, reduction, square
from agecli.data.kinds import FORMATS, PICTURES, kind_of_file, list_files
from agecli.data.workers import WorkerPool, default_workers
from agecli.errors import DataError, ImageError, UsageError
from agecli.faces import Face, align, crop, detect
from agecli.faces.detector import LEAST_SIDE
from agecli.faces.geometry import side

Status = Literal["ok", "no_face", "unreadable", "unsure"]
Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A file's path or content, a PIL image, or uint8 pixels (H, W), (H, W, 3) or (H, W, 4)."""
View = tuple[int, float]
"""A model's input: image size in pixels, margin in box sides."""

NO_FACE = "no face found"
STDIN = Path("-")
"""The name of the image on standard input."""
PIECE = 16
"""Images per message to a worker: enough that a batch is always in flight."""
MANY = 50
"""Fewest images for which a process per CPU is worth starting."""


@dataclass(frozen=True)
class DetectionConfig:
    """How faces are detected."""

    crops: bool = False
    """The images are face crops: skip detection, use them as they are."""
    fallback: Fallback = "none"
    align: Align = "points"
    least_score: float = MIN_FACE_SCORE
    """Detections with a lower score are dropped."""

    def __post_init__(self) -> None:
        for option, choices in (("fallback", Fallback), ("align", Align)):
            if (value := getattr(self, option)) not in get_args(choices):
                names = ", ".join(get_args(choices))
                raise UsageError(f"--{option}: {value!r} is not one of {names}")

    def faces(self, image: Image.Image) -> list[Face]:
        """Detect the faces of an RGB image, and align them if set."""
        faces = detect(image, self.least_score)
        return [align(face) for face in faces] if self.align == "points" else faces


@dataclass(frozen=True)
class Reading:
    """An image's faces, and their crops per view; or why there are none."""

    source: str
    status: Status
    error: str | None = None
    faces: list[Face | None] = field(default_factory=list)
    """None stands for the whole image, without detection or without a face."""
    crops: dict[View, np.ndarray] = field(default_factory=dict)
    """uint8 (faces, size, size, 3)"""
    shorter: int = 0
    """The image's shorter side in pixels."""

    @property
    def sides(self) -> list[float]:
        """Return the sides of the faces' boxes in pixels; a whole image counts as a chip."""
        whole = self.shorter / (1 + 2 * FACE_MARGIN)
        return [side(face.box) if face else whole for face in self.faces]


class Found(NamedTuple):
    """The files that names on a command line stand for."""

    paths: list[Path]
    """Images and videos, and folders that cannot be opened, which get a row that says so."""
    skipped: list[Path]
    """Files in folders that are neither."""


def find_pictures(names: Iterable[str | Path]) -> Found:
    """Find the images and videos of files, folders (recursively, sorted) and glob patterns.

    A file in a folder is recognised by its content, or else its name. Raises DataError if a name
    matches nothing, UsageError for a URL.
    """
    found: dict[Path, None] = {}
    skipped: dict[Path, None] = {}
    for name in map(str, names):
        path = Path(name)
        if path == STDIN:
            pictures = [path]
        elif path.is_dir():
            pictures, others = _search(path)
            skipped.update(dict.fromkeys(others))
        elif path.exists():
            pictures = [path]
        elif has_magic(name):
            matches = sorted(glob(name, recursive=True))  # noqa: PTH207 - Path's takes no "/..."
            pictures = [match for match in map(Path, matches) if match.is_file()]
            if not pictures:
                raise DataError(f"No files match {name}: check the pattern")
        elif "://" in name:
            raise UsageError(f"{name} is a URL: download it first, and pass the file")
        else:
            raise DataError(f"No such file or folder: {name}")
        found.update(dict.fromkeys(pictures))
    return Found(list(found), [path for path in skipped if path not in found])


def _search(folder: Path) -> tuple[list[Path], list[Path]]:
    """Divide a folder's files into images and videos, and others."""
    files, closed = list_files(folder)
    known = [path for path in files if path.suffix.lower() in PICTURES or kind_of_file(path)]
    pictures = sorted([*known, *(path for path, _ in closed)])
    if not pictures:
        raise DataError(f"No pictures in {folder}: pass a folder with files in {FORMATS}")
    return pictures, sorted(set(files) - set(known))


def worker_count(pictures: int) -> int:
    """Return the number of processes worth starting for so many images; 0 for none."""
    return default_workers() // distributed.local_world() if pictures >= MANY else 0


def read_pictures(
    sources: Iterable[Picture],
    views: Iterable[View],
    *,
    detection: DetectionConfig,
    workers: int = 0,
) -> Iterator[Reading]:
    """Yield a Reading per image, in order; a few pieces per worker are read ahead."""
    read = partial(_read_piece, views=tuple(views), detection=detection)
    if not workers or (isinstance(sources, Sequence) and len(sources) == 1):
        for piece in _pieces(sources, 1):
            yield from read(piece)
        return
    with WorkerPool(workers) as pool:
        yield from pool.map(read, _pieces(sources, PIECE), _lost)


def _pieces(sources: Iterable[Picture], size: int) -> Iterator[list[tuple[str, Picture]]]:
    """Divide named sources into lists; in-memory images are named by their number, from 0."""
    named = ((_name(number, source), source) for number, source in enumerate(sources))
    while piece := list(islice(named, size)):
        yield piece


def _name(number: int, source: Picture) -> str:
    if isinstance(source, bytes | Image.Image | np.ndarray):
        return f"picture {number}"
    return os.fspath(source)


def _read_piece(
    piece: list[tuple[str, Picture]], views: tuple[View, ...], detection: DetectionConfig
) -> Iterator[Reading]:
    for name, source in piece:
        yield _read(name, source, views, detection)


def _lost(picture: tuple[str, Picture], reason: str) -> Reading:
    return Reading(picture[0], "unreadable", reason)


def _read(
    name: str, source: Picture, views: tuple[View, ...], detection: DetectionConfig
) -> Reading:
    try:
        takes_any = detection.crops or detection.fallback == "centre"
        image = read_image(_decodable(source), 1 if takes_any else LEAST_SIDE)
    except ImageError as error:
        if error.fault == "too_thin":
            return Reading(name, "no_face", NO_FACE)
        return Reading(name, "unreadable", str(error))
    faces: list[Face | None] = [] if detection.crops else list(detection.faces(image))
    if not faces and not takes_any:
        return Reading(name, "no_face", NO_FACE)
    faces = faces or [None]
    crops = {view: np.stack([crop_view(image, face, view) for face in faces]) for view in views}
    shorter = min(image.size) * reduction(image)
    return Reading(name, "ok", faces=faces, crops=crops, shorter=shorter)


def _decodable(source: Picture) -> Path | bytes | Image.Image:
    if isinstance(source, bytes | Image.Image):
        return source
    if not isinstance(source, np.ndarray):
        return Path(source)
    try:
        return Image.fromarray(source)
    except (TypeError, ValueError) as error:
        raise ImageError(f"array {source.dtype} {source.shape} is not an image") from error


def crop_view(image: Image.Image, face: Face | None, view: View) -> np.ndarray:
    """Return a face, or the whole RGB image (None), cropped for a model: uint8 (size, size, 3)."""
    size, margin = view
    if face is None:
        return square(image, size)
    return crop(image, face, size, margin)
