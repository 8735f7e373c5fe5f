"""The outputs of predict, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path

from PIL import Image

from agecli.errors import UsageError
from agecli.files import Output, check_outputs, growing_name, marked, whole
from agecli.inference.rows import COLUMNS
from agecli.video.frames import is_video

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""Formats of annotated images, by the original's suffix; others are written as PNG."""
MARK = "agecli predict"
SOFTWARE = 0x0131
"""The EXIF tag that names the program that wrote an image."""


@dataclass(frozen=True)
class Marked:
    """Paths of the annotated images of some sources, which mirror the sources' folders."""

    folder: Path
    sources: Sequence[Path]

    @cached_property
    def _parents(self) -> dict[Path, Path]:
        return {source.parent: source.parent.resolve() for source in self.sources}

    @cached_property
    def _root(self) -> Path:
        return Path(os.path.commonpath(self._parents.values()))

    def check_folder(self) -> None:
        """Raise UsageError for a folder that contains pictures to predict."""
        folder = self.folder.resolve()
        if any(parent.is_relative_to(folder) for parent in self._parents.values()):
            raise UsageError(
                f"--annotate: {self.folder} contains pictures to predict; choose another folder"
            )

    def path(self, source: Path, face: str = "") -> Path:
        """Return the path of a source's annotated image; face: its number in a video, or *."""
        target = self.folder / self._parents[source.parent].relative_to(self._root) / source.name
        if face:
            return target.with_name(f"{target.name}.{face}.jpg")
        known = target.suffix.lower() in FORMATS
        return target if known else target.with_name(f"{target.name}.png")

    def taken(self) -> Iterator[Path]:
        """Yield the existing files whose names may be written.

        Raises UsageError if two images would get the same name, such as x.bmp and x.bmp.png.
        """
        known: dict[Path, Path] = {}
        for source in self.sources:
            if is_video(source):
                target = self.path(source, "*")
                yield from target.parent.glob(escape(target.name.removesuffix("*.jpg")) + "*.jpg")
                continue
            target = self.path(source)
            if (other := known.setdefault(target, source)) != source:
                raise UsageError(
                    f"--annotate: {other} and {source} would both be written to {target}: "
                    "predict one of them separately"
                )
            if os.path.lexists(target):
                yield target


def check(csv: Path | None, annotate: Path | None, sources: Sequence[Path]) -> None:
    """Raise UsageError for outputs that would overwrite something else, or cannot be written."""
    tables = [csv, growing_name(csv)] if csv else []
    outputs = [Output("--csv", path, marked(",".join(COLUMNS))) for path in tables]
    if annotate:
        pictures = Marked(annotate, sources)
        pictures.check_folder()
        outputs += [Output("--annotate", path, marked(MARK)) for path in pictures.taken()]
    check_outputs(outputs, sources)


def save_marked(image: Image.Image, path: Path) -> None:
    """Write an annotated image, with this program's name in its EXIF data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[SOFTWARE] = MARK
    with whole(path) as partial:
        image.save(partial, FORMATS[path.suffix.lower()], quality=92, exif=exif)
