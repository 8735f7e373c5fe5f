"""The prepared data set on disk: images.npy, manifest.csv, receipt.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agecli.ages import Scheme
from agecli.config import PrepareConfig, TrainConfig
from agecli.data.compressed import JPEGS, OFFSETS, CompressedFile, open_compressed
from agecli.data.folds import of_fold
from agecli.data.manifest import Columns, Manifest
from agecli.data.pixels import IMAGES, Images, PixelFile, open_pixels
from agecli.data.receipt import Receipt
from agecli.errors import DataError, brief

ALL = "all"
"""The name for all splits together."""
MANIFEST, RECEIPT = "manifest.csv", "receipt.json"
FILES = (IMAGES, JPEGS, OFFSETS, MANIFEST, RECEIPT)
"""The files of a data set."""


def name_split(split: str) -> str:
    """Return a split's name in a sentence: "the test split", "all splits"."""
    return "all splits" if split == ALL else f"the {split} split"


StoreFile = PixelFile | CompressedFile
"""The images while being written: `writer` from any process, then `finish`."""


def create(folder: Path, count: int, config: PrepareConfig) -> StoreFile:
    """Create the files for `count` images in a folder."""
    kind = CompressedFile if config.store == "compressed" else PixelFile
    return kind(folder, count, config.size)


def needed(count: int, config: PrepareConfig) -> int:
    """Estimate the bytes of `count` images on disk; a lower bound if compressed."""
    pixels = count * config.size**2 * 3
    return pixels // 20 if config.store == "compressed" else pixels


@dataclass(frozen=True)
class Dataset(Columns):
    """An open data set: row i of every column belongs to images[i]."""

    folder: Path
    images: Images
    """(N, S, S, 3), read on access."""
    receipt: Receipt
    split_hash: str
    """Hash of the split: results are comparable if it is equal."""
    fold: int | None = None
    """The fold that is the test split; None for the data set's plain split."""

    @property
    def scheme(self) -> Scheme:
        """Return the age groups by which it is split, and that models are trained on."""
        return Scheme.parse(self.receipt.scheme)

    def rows(self, split: str) -> NDArray[np.integer]:
        """Return the rows (n,) of a split, or of ALL, sorted, without those left out."""
        inside = self.splits != "" if split == ALL else self.splits == split
        return np.flatnonzero(inside & (self.excluded == ""))


def open_for(config: TrainConfig) -> Dataset:
    """Open a training's data set by `open_dataset`."""
    return open_dataset(Path(config.data), config.fold, within_train=config.within_train)


def open_dataset(folder: Path, fold: int | None = None, *, within_train: bool = False) -> Dataset:
    """Open a data set that `agecli prepare` made; the images stay on disk.

    fold: the one to use as test split, by default the plain split; within_train: only of the plain
    split's training images. Raises DataError, with the command to type, if there is no
    such data set or fold, or a part has been changed: the manifest is checked against the
    receipt, the images against the manifest.
    """
    _need(folder, MANIFEST, RECEIPT)
    with _one_line(folder / RECEIPT):
        receipt = Receipt.read(folder / RECEIPT)
    compressed = receipt.options.get("store") == "compressed"
    names = (OFFSETS, JPEGS) if compressed else (IMAGES,)
    _need(folder, *names)
    with _one_line(folder / MANIFEST):
        manifest = Manifest.read(folder / MANIFEST)
        if manifest.split_hash != receipt.split_hash:
            raise ValueError(f"its splits do not match {RECEIPT}")
        if receipt.manifest not in ("", manifest.sha256):
            raise ValueError(f"it does not match {RECEIPT}")
    with _one_line(folder / names[0]):
        open_images = open_compressed if compressed else open_pixels
        images: Images = open_images(folder, len(manifest.ids))
    if fold is not None:
        _check_fold(folder, manifest, fold)
        with _one_line(folder):
            manifest = of_fold(manifest, receipt, fold, within_train=within_train)
    columns = {column.name: getattr(manifest, column.name) for column in fields(Columns)}
    return Dataset(
        folder=folder, images=images, receipt=receipt, split_hash=manifest.split_hash, fold=fold,
        **columns,
    )  # fmt: skip


def _check_fold(folder: Path, manifest: Manifest, fold: int) -> None:
    folds = np.unique(manifest.folds[(manifest.folds >= 0) & (manifest.splits != "")]).tolist()
    if not folds:
        raise DataError(f"--fold: {folder} has no folds: `agecli prepare ... --folds 5` makes some")
    if fold not in folds:
        raise DataError(f"--fold: {folder} has no fold {fold}, but {', '.join(map(str, folds))}")


def _need(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise DataError(f"No {name} in {folder}: run `agecli prepare UTKFace.tar.gz` first")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn an error about part of a data set into one line: which part, how, what to do."""
    try:
        yield
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({brief(error)}): restore it, or run `agecli prepare ... --force` "
            "again"
        ) from error
