"""What predict is going to write, known and checked before any work."""

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
"""What marked pictures are written as, by the ending of the original's name; others as PNG."""
MARK = "agecli predict"
SOFTWARE = 0x0131
"""The EXIF tag that names the program that wrote a picture."""


@dataclass(frozen=True)
class Marked:
    """Where the marked pictures of some sources are written: as those lie in their folders."""

    folder: Path
    sources: Sequence[Path]

    @cached_property
    def _parents(self) -> dict[Path, Path]:
        return {source.parent: source.parent.resolve() for source in self.sources}

    @cached_property
    def _root(self) -> Path:
        return Path(os.path.commonpath(self._parents.values()))

    def check_folder(self) -> None:
        """Raise UsageError for a folder that holds pictures to predict."""
        folder = self.folder.resolve()
        if any(parent.is_relative_to(folder) for parent in self._parents.values()):
            raise UsageError(
                f"--annotate: {self.folder} holds pictures to predict; give another folder"
            )

    def path(self, source: Path, face: str = "") -> Path:
        """Return where a source's picture goes; face: the number of one of a video, or *."""
        target = self.folder / self._parents[source.parent].relative_to(self._root) / source.name
        if face:
            return target.with_name(f"{target.name}.{face}.jpg")
        known = target.suffix.lower() in FORMATS
        return target if known else target.with_name(f"{target.name}.png")

    def taken(self) -> Iterator[Path]:
        """Yield the files that are there already under names that may be written.

        Raises UsageError where two pictures would get one name, as x.bmp and x.bmp.png.
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
                    "predict one of them by itself"
                )
            if os.path.lexists(target):
                yield target


def check(csv: Path | None, annotate: Path | None, sources: Sequence[Path]) -> None:
    """Raise UsageError for outputs that would destroy something, or cannot be written."""
    tables = [csv, growing_name(csv)] if csv else []
    outputs = [Output("--csv", path, marked(",".join(COLUMNS))) for path in tables]
    if annotate:
        pictures = Marked(annotate, sources)
        pictures.check_folder()
        outputs += [Output("--annotate", path, marked(MARK)) for path in pictures.taken()]
    check_outputs(outputs, sources)


def save_marked(image: Image.Image, path: Path) -> None:
    """Write a marked picture, which tells in its EXIF data who wrote it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[SOFTWARE] = MARK
    with whole(path) as partial:
        image.save(partial, FORMATS[path.suffix.lower()], quality=92, exif=exif)
