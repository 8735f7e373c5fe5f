"""The data set on disk: what is written comes back, what is damaged is said to be."""

import json
import os
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from agecli.ages import Age
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.pixels import PixelFile
from agecli.data.receipt import Receipt
from agecli.data.split import split_hash
from agecli.data.store import IMAGES, MANIFEST, RECEIPT, open_dataset
from agecli.errors import DataError

PIXELS = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
ROWS = [
    ManifestRow('a, "b"\n.jpg', "Drawn", "a" * 64, Age(3, 3), "male", "", "", -1, 0, "train", ""),
    ManifestRow(
        "ü.jpg",
        "Drawn",
        "b" * 64,
        Age(40, 40),
        "",
        "White",
        "",
        -1,
        1,
        "train",
        "no face found",
    ),
    ManifestRow("c.jpg", "Drawn", "c" * 64, Age(5, 5), "", "", "", -1, 2, "test", ""),
]
SPLIT_HASH = split_hash([row.sha256 for row in ROWS], [row.split for row in ROWS])


@pytest.fixture
def folder(tmp_path):
    with PixelFile(tmp_path, 3, 16).writer() as write:
        for row in (2, 0, 1):
            write(row, Image.fromarray(PIXELS[row]), None)
    digest = write_manifest(tmp_path / MANIFEST, ROWS)
    Receipt(SPLIT_HASH, ["0-17", "18+"], manifest=digest).write(tmp_path / RECEIPT)
    return tmp_path


def test_numpy_reads_what_the_store_file_writes(folder):
    assert (np.load(folder / IMAGES) == PIXELS).all()


def test_an_image_is_read_back_from_its_row(tmp_path):
    images = PixelFile(tmp_path, 2, 16)
    with images.writer() as write, images.reader() as read:
        write(1, Image.fromarray(PIXELS[1]), None)
        assert (read(1) == PIXELS[1]).all()
        assert not read(0).any()


def test_a_data_set_opens_as_it_was_written(folder):
    data = open_dataset(folder)
    assert data.ids.tolist() == [row.id for row in ROWS]
    assert data.ages.tolist() == [[3, 3], [40, 40], [5, 5]]
    assert data.sexes.tolist() == ["male", "", ""]
    assert data.clusters.tolist() == [0, 1, 2]
    digest = sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert data.receipt == Receipt(SPLIT_HASH, ["0-17", "18+"], manifest=digest)
    assert data.split_hash == SPLIT_HASH and data.scheme.labels == ["0-17", "18+"]
    assert (data.images == PIXELS).all()


def test_images_stay_on_disk(folder):
    data = open_dataset(folder)
    assert not isinstance(data.images, np.ndarray)
    assert data.images.shape == PIXELS.shape
    for rows in (1, -1, slice(1, None), [2, 0], np.array([True, False, True]), np.int64(2)):
        assert (data.images[rows] == PIXELS[rows]).all()
    assert (np.take(data.images, [2, 0], axis=0) == PIXELS[[2, 0]]).all()
    with pytest.raises(IndexError):
        data.images[3]


def test_images_are_those_that_were_opened_whatever_then_has_their_name(folder):
    data = open_dataset(folder)
    (folder / IMAGES).unlink()
    (folder / IMAGES).write_bytes(b"others")
    assert (data.images == PIXELS).all()


@pytest.mark.parametrize("windows", [False, True])
def test_images_that_are_cut_while_they_are_read_are_one_error(folder, windows, monkeypatch):
    if windows:  # has no such call
        monkeypatch.delattr(os, "preadv")
    data = open_dataset(folder)
    assert (data.images[2] == np.load(folder / IMAGES)[2]).all()
    os.truncate(folder / IMAGES, 1000)
    with pytest.raises(DataError, match=r"images\.npy was truncated while it was read"):
        data.images[2]


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
        (MANIFEST, lambda data: data.replace(b",40,", b",-5,")),
        (MANIFEST, lambda data: data.replace(b",40,", b",200,")),
        (MANIFEST, lambda data: data.replace(b",40,", b",1" + b"0" * 30 + b",")),
        (MANIFEST, lambda data: data.replace(b",40,", b",41,")),
        (MANIFEST, lambda data: data.replace(b",test,", b",train,")),
        (MANIFEST, lambda data: data.replace(b",test,", b",exam,")),
        (MANIFEST, lambda data: b"".join(data.splitlines(True)[i] for i in (0, 1, 2, 4, 3))),
        (MANIFEST, lambda data: data.replace(b"c.jpg", b"c" * 200_000)),
        (MANIFEST, lambda data: data.replace(b"c.jpg", b"c\0")),
        (RECEIPT, lambda data: data[:-2]),
        (RECEIPT, lambda data: b"[]"),
        (RECEIPT, lambda data: data.replace(b"18+", b"17+")),
        (RECEIPT, lambda data: data.replace(SPLIT_HASH.encode(), b"x")),
        (RECEIPT, lambda data: data.replace(b'"scheme": [', b'"scheme": 8, "x": [')),
        (RECEIPT, lambda data: b"[" * 100_000),
    ],
)
def test_a_damaged_part_is_reported(folder, name, change):
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(DataError, match=r"is damaged .*--force") as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(folder))


def test_rows_in_another_order_are_seen(folder):
    """The split hash sorts its lines: it is the same for them."""
    path = folder / MANIFEST
    write_manifest(path, ROWS[::-1])
    with pytest.raises(DataError, match=r"manifest\.csv is damaged \(it does not match receipt"):
        open_dataset(folder)


def test_an_older_receipt_without_the_manifests_hash_is_read(folder):
    old = {"split_hash": SPLIT_HASH, "scheme": ["0-17", "18+"]}
    (folder / RECEIPT).write_text(json.dumps(old))
    assert open_dataset(folder).receipt == Receipt(**old)
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b",test,", b",val,"))
    with pytest.raises(DataError, match=r"its splits do not match receipt\.json"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "images",
    [PIXELS[..., :1], PIXELS[..., [0, 1, 2, 2]], PIXELS.astype(np.int8), PIXELS / 255,
     np.asfortranarray(PIXELS), PIXELS[:2], PIXELS[:, :8], PIXELS[0], np.array([None, {}, 3])],
    ids=range(9),
)  # fmt: skip
def test_images_of_another_form_are_refused(folder, images):
    np.save(folder / IMAGES, images)
    with pytest.raises(DataError, match=r"images\.npy is damaged .*--force"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("found", "put"),
    [(b"(3, 16, 16, 3)", b"(3, 8, 8, 3)  "), (b"(3, 16, 16, 3)", b"(3, 99, 99, 3)"),
     (b"(3, 16, 16, 3)", b"(9**9**9, 3)  "), (b"|u1", b"|i1"), (b"|u1", b"|O "),
     (b"False", b"True "), (b"descr", b"desc\n"), (b"\x93NUMPY", b"PK\3\4\0\0")],
)  # fmt: skip
def test_a_header_that_lies_is_refused(folder, found: bytes, put: bytes):
    path = folder / IMAGES
    content = path.read_bytes()
    assert found in content
    path.write_bytes(content.replace(found, put, 1))
    with pytest.raises(DataError, match=r"images\.npy is damaged .*--force"):
        open_dataset(folder)
