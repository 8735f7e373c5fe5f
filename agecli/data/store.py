"""The prepared data set on disk: images.npy, manifest.csv, receipt.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from agecli.ages import Scheme
from agecli.data.manifest import read_manifest
from agecli.data.receipt import Receipt
from agecli.errors import DataError

IMAGES, MANIFEST, RECEIPT = "images.npy", "manifest.csv", "receipt.json"


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


@dataclass(frozen=True)
class Dataset:
    """A prepared data set, opened: row i of every column belongs to images[i]."""

    folder: Path
    images: NDArray[np.uint8]
    """(N, S, S, 3), memory-mapped."""
    ids: NDArray[np.str_]
    ages: NDArray[np.integer]
    sexes: NDArray[np.str_]
    races: NDArray[np.str_]
    clusters: NDArray[np.integer]
    splits: NDArray[np.str_]
    excluded: NDArray[np.str_]
    receipt: Receipt

    @property
    def scheme(self) -> Scheme:
        """The age groups by which it is split, and that models are trained on."""
        return Scheme.parse(self.receipt.scheme)

    @property
    def split_hash(self) -> str:
        """Names the split: two results are comparable where it is the same."""
        return self.receipt.split_hash

    def rows(self, split: str) -> NDArray[np.integer]:
        """Return the rows (n,) of a split, sorted, without the excluded ones."""
        return np.flatnonzero((self.splits == split) & (self.excluded == ""))


def open_dataset(folder: Path) -> Dataset:
    """Open a data set that `agecli prepare` made; the images stay on disk.

    Raises DataError, with the command to type, where there is none or its parts disagree.
    """
    for name in (MANIFEST, RECEIPT, IMAGES):
        if not (folder / name).is_file():
            raise DataError(f"No {name} in {folder}: run `agecli prepare UTKFace.tar.gz` first")
    try:
        column = read_manifest(folder / MANIFEST)
        images = np.load(folder / IMAGES, mmap_mode="r")
        if images.ndim != 4 or len(images) != len(column["id"]):
            raise ValueError(f"{len(column['id'])} rows, but images of shape {images.shape}")
        return Dataset(
            folder=folder,
            images=images,
            ids=np.array(column["id"]),
            ages=np.array(column["age"], dtype=np.int64),
            sexes=np.array(column["sex"]),
            races=np.array(column["race"]),
            clusters=np.array(column["cluster"], dtype=np.int64),
            splits=np.array(column["split"]),
            excluded=np.array(column["excluded"]),
            receipt=Receipt.read(folder / RECEIPT),
        )
    except (ValueError, TypeError, KeyError, EOFError) as error:
        raise DataError(
            f"{folder} is damaged ({error}): run `agecli prepare ... --force` again"
        ) from error
