"""The data set on disk: what is written comes back, what is damaged is said to be."""

import json

import numpy as np
import pytest

from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import Receipt
from agecli.data.store import IMAGES, MANIFEST, RECEIPT, StoreFile, open_dataset
from agecli.errors import DataError

PIXELS = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
ROWS = [
    ManifestRow('a, "b"\n.jpg', "Drawn", "a" * 64, 3, "male", "", 0, "train", ""),
    ManifestRow("ü.jpg", "Drawn", "b" * 64, 40, "", "White", 1, "train", "no face found"),
    ManifestRow("c.jpg", "Drawn", "c" * 64, 5, "", "", 2, "test", ""),
]


@pytest.fixture
def folder(tmp_path):
    images = StoreFile(tmp_path / IMAGES, 3, 16)
    with images.path.open("r+b") as file:
        for row in (2, 0, 1):
            images.write(file, row, PIXELS[row])
    write_manifest(tmp_path / MANIFEST, ROWS)
    (tmp_path / RECEIPT).write_text(json.dumps({"split_hash": "x", "scheme": ["0-17", "18+"]}))
    return tmp_path


def test_numpy_reads_what_the_store_file_writes(folder):
    assert (np.load(folder / IMAGES) == PIXELS).all()


def test_an_image_is_read_back_from_its_row(folder, tmp_path_factory):
    images = StoreFile(tmp_path_factory.mktemp("other") / IMAGES, 2, 16)
    with images.path.open("r+b") as file:
        images.write(file, 1, PIXELS[1, ::-1])  # a view that is not contiguous
        assert (images.read(file, 1) == PIXELS[1, ::-1]).all()
        assert not images.read(file, 0).any()


def test_a_data_set_opens_as_it_was_written(folder):
    data = open_dataset(folder)
    assert data.ids.tolist() == [row.id for row in ROWS]
    assert data.ages.tolist() == [3, 40, 5]
    assert data.sexes.tolist() == ["male", "", ""]
    assert data.clusters.tolist() == [0, 1, 2]
    assert data.receipt == Receipt(split_hash="x", scheme=["0-17", "18+"])
    assert data.split_hash == "x" and data.scheme.labels == ["0-17", "18+"]
    assert (data.images == PIXELS).all()


def test_images_stay_on_disk(folder):
    data = open_dataset(folder)
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable


def test_a_splits_rows_leave_the_excluded_out(folder):
    data = open_dataset(folder)
    assert [data.rows(split).tolist() for split in ("train", "val", "test")] == [[0], [], [2]]


@pytest.mark.parametrize("name", [IMAGES, MANIFEST, RECEIPT])
def test_a_missing_part_is_named_with_the_command_to_type(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"No {name} in .*agecli prepare"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (IMAGES, lambda data: data[:-100]),
        (IMAGES, lambda data: b""),
        (IMAGES, lambda data: b"no array at all"),
        (MANIFEST, lambda data: b""),
        (MANIFEST, lambda data: data.replace(b"sha256", b"md5")),
        (MANIFEST, lambda data: data[: data.rindex(b"c.jpg")]),
        (MANIFEST, lambda data: data.replace(b",40,", b",forty,")),
        (MANIFEST, lambda data: data[:-8]),
        (MANIFEST, lambda data: b"\xff\xfe"),
        (RECEIPT, lambda data: data[:-2]),
    ],
)
def test_a_damaged_part_is_said_to_be(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=r"is damaged .*--force"):
        open_dataset(folder)
