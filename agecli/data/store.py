"""The prepared data set on disk: images.npy, manifest.csv, receipt.json."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from agecli.ages import Scheme
from agecli.data.folds import of_fold
from agecli.data.manifest import Columns, Manifest
from agecli.data.receipt import Receipt
from agecli.errors import DataError, brief

ALL = "all"
"""Stands for the images of all splits."""
IMAGES, MANIFEST, RECEIPT = "images.npy", "manifest.csv", "receipt.json"


def name_split(split: str) -> str:
    """Name a split in a sentence: "the test split", "all splits"."""
    return "all splits" if split == ALL else f"the {split} split"


class StoreFile:
    """The store's images while it is written: any row, in any order, from any process.

    Plain reads and writes, not a memory map, keep what the process holds constant.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.path, self.count, self.size = path, count, size
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            self.offset = file.tell()
            file.truncate(self.offset + count * self.row_bytes)

    @property
    def row_bytes(self) -> int:
        """Count the bytes of an image."""
        return self.size * self.size * 3

    def write(self, file: BinaryIO, row: int, image: NDArray[np.uint8]) -> None:
        """Write an image (size, size, 3) to its row of the opened file."""
        file.seek(self.offset + row * self.row_bytes)
        file.write(np.ascontiguousarray(image).data)

    def read(self, file: BinaryIO, row: int) -> NDArray[np.uint8]:
        """Read an image (size, size, 3) from its row of the opened file."""
        file.seek(self.offset + row * self.row_bytes)
        pixels = np.frombuffer(file.read(self.row_bytes), dtype=np.uint8)
        return pixels.reshape(self.size, self.size, 3)


class Images:
    """The images (N, S, S, 3) of a data set, uint8: they stay on disk until a row is asked for.

    Plain reads, since a memory map kills the process where its file is cut. Numpy takes it for an
    array: `np.take`, rows by number, slice or array, or all as `np.asarray`.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...]) -> None:
        self.path, self.offset, self.shape = path, offset, shape
        binary = getattr(os, "O_BINARY", 0)  # of Windows
        self.file = os.open(path, os.O_RDONLY | binary)  # the same whatever then has its name
        self.lock = Lock()
        weakref.finalize(self, os.close, self.file)
        self.row_bytes = int(np.prod(shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        return self.take(np.arange(len(self))[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def take(
        self, rows: Any, axis: int = 0, out: NDArray[np.uint8] | None = None, mode: str = "raise"
    ) -> NDArray[np.uint8]:
        """Read images (..., S, S, 3) of rows (...), as `np.take` along the first axis.

        Raises DataError where the file does not have them any more.
        """
        rows = np.asarray(rows)
        if out is None:
            out = np.empty((*rows.shape, *self.shape[1:]), np.uint8)
        target = out.data.cast("B") if rows.size else memoryview(b"")
        for number, row in enumerate(rows.reshape(-1).tolist()):
            begin = number * self.row_bytes
            image = target[begin : begin + self.row_bytes]
            if self._read(image, self.offset + row * self.row_bytes) != self.row_bytes:
                raise DataError(
                    f"{self.path} was cut while it was read: put it back, or run `agecli prepare "
                    "... --force` again"
                )
        return out

    def _read(self, image: memoryview, place: int) -> int:
        """Fill the bytes of an image from a place of the file; return how many there were."""
        if hasattr(os, "preadv"):
            return os.preadv(self.file, [image], place)
        with self.lock:  # Windows: threads share the file's one position
            os.lseek(self.file, place, os.SEEK_SET)
            data = os.read(self.file, len(image))
        image[: len(data)] = data
        return len(data)


@dataclass(frozen=True)
class Dataset(Columns):
    """A prepared data set, opened: row i of every column belongs to images[i]."""

    folder: Path
    images: Images
    """(N, S, S, 3), read when asked for."""
    receipt: Receipt
    split_hash: str
    """Names the split: two results are comparable where it is the same."""
    fold: int | None = None
    """That which is the test split; None where the split is the data set's plain one."""

    @property
    def scheme(self) -> Scheme:
        """The age groups by which it is split, and that models are trained on."""
        return Scheme.parse(self.receipt.scheme)

    def rows(self, split: str) -> NDArray[np.integer]:
        """Return the rows (n,) of a split, or of ALL, sorted, without the excluded ones."""
        inside = self.splits != "" if split == ALL else self.splits == split
        return np.flatnonzero(inside & (self.excluded == ""))


def open_dataset(folder: Path, fold: int | None = None) -> Dataset:
    """Open a data set that `agecli prepare` made; the images stay on disk.

    fold: that which is to be the test split, by default the plain split. Raises DataError, with the
    command to type, where there is no such data set or fold, or a part is not as it was made: the
    manifest is held against the receipt, the images against the manifest.
    """
    for name in (MANIFEST, RECEIPT, IMAGES):
        if not (folder / name).is_file():
            raise DataError(f"No {name} in {folder}: run `agecli prepare UTKFace.tar.gz` first")
    with _one_line(folder / RECEIPT):
        receipt = Receipt.read(folder / RECEIPT)
    with _one_line(folder / MANIFEST):
        manifest = Manifest.read(folder / MANIFEST)
        if manifest.split_hash != receipt.split_hash:
            raise ValueError(f"its splits are not those of {RECEIPT}")
        if receipt.manifest not in ("", manifest.sha256):
            raise ValueError(f"it is not the one of {RECEIPT}")
    with _one_line(folder / IMAGES):
        images = _open_images(folder / IMAGES, len(manifest.ids))
    if fold is not None:
        _check_fold(folder, manifest, fold)
        with _one_line(folder):
            manifest = of_fold(manifest, receipt, fold)
    columns = {column.name: getattr(manifest, column.name) for column in fields(Columns)}
    return Dataset(
        folder=folder, images=images, receipt=receipt, split_hash=manifest.split_hash, fold=fold,
        **columns,
    )  # fmt: skip


def _check_fold(folder: Path, manifest: Manifest, fold: int) -> None:
    folds = np.unique(manifest.folds[(manifest.folds >= 0) & (manifest.splits != "")]).tolist()
    if not folds:
        raise DataError(f"--fold: {folder} has no folds: `agecli prepare ... --folds 5` deals some")
    if fold not in folds:
        raise DataError(f"--fold: {folder} has no fold {fold}, but {', '.join(map(str, folds))}")


def _open_images(path: Path, count: int) -> Images:
    """Open images (count, S, S, 3). Raises ValueError for any other array."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            images = np.load(path, mmap_mode="r")
    except Exception as error:  # whatever numpy makes of a header that is none
        raise ValueError(f"no array of numpy: {error}") from error
    side = images.shape[1] if getattr(images, "ndim", 0) == 4 else 0
    if not side or images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise ValueError("no images of bytes, row by row")
    if images.shape != (count, side, side, 3):
        raise ValueError(f"images of shape {images.shape}, where {MANIFEST} has {count} rows")
    if path.stat().st_size != images.offset + images.nbytes:
        raise ValueError(f"{path.stat().st_size} bytes, not those of its header")
    return Images(path, images.offset, images.shape)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Say which part of a data set is damaged, how, and what to do."""
    try:
        yield
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({brief(error)}): put it back, or run `agecli prepare ... --force` "
            "again"
        ) from error
