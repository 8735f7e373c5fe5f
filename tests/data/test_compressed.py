"""Images kept as JPEG: written from any process, read back, and every damage one line."""

import io
import multiprocessing
import os

import numpy as np
import pytest
from PIL import Image

from agecli.config import PrepareConfig
from agecli.data.batches import Batches
from agecli.data.compressed import JPEGS, OFFSETS, CompressedFile, open_compressed
from agecli.data.prepare import prepare
from agecli.data.store import FILES, open_dataset
from agecli.errors import DataError
from tests.archives import SPREAD_AGES
from tests.data.pictures import deadly_crop, textured, write_textured

COUNT, SIDE = 12, 32


def _jpeg(image, **options):
    content = io.BytesIO()
    image.save(content, "JPEG", **{"quality": 60} | options)
    return content.getvalue()


def _write(images, rows):
    with images.writer() as write:
        for row in rows:
            picture = textured(row, SIDE)
            data = _jpeg(picture)
            write(row, Image.open(io.BytesIO(data)), data if row % 2 else None)


@pytest.fixture
def folder(tmp_path):
    """Write 12 rows, one without an image, by two processes in a mixed order; return them."""
    images = CompressedFile(tmp_path, COUNT, SIDE)
    _write(images, [7, 2, 9])
    other = multiprocessing.get_context("spawn").Process(target=_write, args=[images, [11, 0, 1]])
    other.start()
    other.join()
    _write(images, [3, 4, 5, 6, 10])
    with images.reader() as read:
        assert _distance(read(7), 7) == 0 < _distance(read(2), 2) < 8
    images.finish()
    assert {path.name for path in tmp_path.iterdir()} == {JPEGS, OFFSETS}
    return tmp_path


def _distance(pixels, row):
    picture = Image.open(io.BytesIO(_jpeg(textured(row, SIDE))))
    return np.abs(pixels.astype(int) - np.asarray(picture)).mean()


def test_files_are_kept_as_they_are_and_pictures_are_compressed(folder):
    images = open_compressed(folder, COUNT)
    assert images.shape == (COUNT, SIDE, SIDE, 3)
    for row in range(COUNT):
        if row == 8:
            assert not images[row].any()
        else:
            assert _distance(images[row], row) == 0 if row % 2 else _distance(images[row], row) < 8
    assert _jpeg(textured(7, SIDE)) in (folder / JPEGS).read_bytes()


def test_rows_lie_in_their_order_whoever_wrote_them(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    images = CompressedFile(other, COUNT, SIDE)
    _write(images, [row for row in range(COUNT) if row != 8])
    images.finish()
    for name in (JPEGS, OFFSETS):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_batches_are_decoded_in_threads(folder):
    images = open_compressed(folder, COUNT)
    loader = Batches(images, np.arange(COUNT), batch_size=5, shuffle=True, threads=3)
    for batch, rows in loader.epoch():
        assert (batch.numpy() == images[rows]).all()


def test_an_image_that_was_cut_off_in_the_writing_is_none(tmp_path):
    """As where a worker is killed: bytes without an entry in the index."""
    images = CompressedFile(tmp_path, COUNT, SIDE)
    _write(images, [1])
    with (tmp_path / f"{os.getpid()}.part").open("ab") as part:
        part.write(b"half of an ima")
    _write(images, [3])
    images.finish()
    opened = open_compressed(tmp_path, COUNT)
    assert [_distance(opened[row], row) for row in (1, 3)] == [0, 0] and not opened[2].any()


@pytest.mark.parametrize("windows", [False, True])
def test_an_image_that_is_damaged_is_one_line(folder, windows, monkeypatch):
    if windows:
        monkeypatch.delattr(os, "preadv")
    images = open_compressed(folder, COUNT)
    offsets = np.load(folder / OFFSETS)
    with (folder / JPEGS).open("r+b") as file:
        file.seek(int(offsets[3]))
        file.write(bytes(100))
    with pytest.raises(
        DataError, match=r"images\.jpegs is damaged \(image 3: not an image\): restore"
    ):
        np.take(images, [2, 3], axis=0)
    os.truncate(folder / JPEGS, int(offsets[7]))
    with pytest.raises(DataError, match=r"images\.jpegs was truncated while it was read"):
        images[9]


def test_an_image_of_another_size_is_one_line(tmp_path):
    images = CompressedFile(tmp_path, 2, SIDE)
    with images.writer() as write:
        write(0, textured(0, SIDE), None)
        write(1, textured(1, SIDE), _jpeg(textured(1, 16)))
    images.finish()
    with pytest.raises(DataError, match=r"is damaged \(image 1: 16x16\)"):
        open_compressed(tmp_path, 2)[:]


@pytest.mark.parametrize(
    "change",
    [
        lambda offsets: offsets[:-1],
        lambda offsets: offsets.astype("<i8"),
        lambda offsets: offsets[:, None],
        lambda offsets: offsets + 1,
        lambda offsets: np.where(np.arange(COUNT + 1) == 5, 2**63, offsets).astype("<u8"),
        lambda offsets: np.where(np.arange(COUNT + 1) == 5, 0, offsets).astype("<u8"),
        lambda offsets: np.where(np.arange(COUNT + 1) == COUNT, 5, offsets).astype("<u8"),
        lambda offsets: np.where(np.arange(COUNT + 1) > 0, offsets[-1], 0).astype("<u8"),
        lambda offsets: np.zeros_like(offsets),
    ],
)
def test_offsets_that_lie_are_refused(folder, change):
    np.save(folder / OFFSETS, change(np.load(folder / OFFSETS)))
    with pytest.raises(ValueError, match="images"):
        open_compressed(folder, COUNT)


def test_files_of_another_form_are_refused(folder):
    for content in (b"", b"not a NumPy array", b"PK\3\4"):
        (folder / OFFSETS).write_bytes(content)
        with pytest.raises(ValueError, match="not a NumPy array"):
            open_compressed(folder, COUNT)
    with (folder / OFFSETS).open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(ValueError, match="several NumPy arrays, not one"):
        open_compressed(folder, COUNT)


# A whole data set


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "Faces"
    write_textured(folder, SPREAD_AGES * 3)
    return folder


def _prepare(source, out, **settings):
    options = {name: settings.pop(name) for name in ("crop",) if name in settings}
    return prepare(source, out, PrepareConfig(**settings), workers=2, **options)


def test_a_data_set_of_pictures_of_its_size_is_the_same_in_both_stores(source, tmp_path):
    pixels = _prepare(source, tmp_path / "pixels", size=96)
    compressed = _prepare(source, tmp_path / "compressed", size=96, store="compressed")
    one, other = open_dataset(tmp_path / "pixels"), open_dataset(tmp_path / "compressed")
    assert compressed.manifest == pixels.manifest and one.split_hash == other.split_hash
    assert (np.asarray(one.images) == np.asarray(other.images)).all()
    names = {path.name for path in (tmp_path / "compressed").iterdir()}
    assert names == {JPEGS, OFFSETS, "manifest.csv", "receipt.json"} < {*FILES}


def test_resized_pictures_are_nearly_the_same(source, tmp_path):
    for store in ("pixels", "compressed"):
        _prepare(source, tmp_path / store, size=32, store=store)
    one, other = (
        np.asarray(open_dataset(tmp_path / name).images, dtype=int)
        for name in ("pixels", "compressed")
    )
    assert 0 < np.abs(one - other).mean() < 8


def test_force_replaces_one_store_by_the_other(source, tmp_path):
    out = tmp_path / "out"
    for store in ("compressed", "pixels", "compressed"):
        prepare(source, out, PrepareConfig(size=16, store=store), workers=1, force=True)
        assert len(open_dataset(out).images) == 30
    assert (out / JPEGS).exists() and not (out / "images.npy").exists()


def test_a_missing_file_is_named(source, tmp_path):
    _prepare(source, tmp_path / "out", size=16, store="compressed")
    (tmp_path / "out" / OFFSETS).unlink()
    with pytest.raises(DataError, match=r"No offsets\.npy in .*agecli prepare"):
        open_dataset(tmp_path / "out")


def test_a_worker_that_dies_loses_its_picture_alone(source, tmp_path):
    folder = tmp_path / "in"
    write_textured(folder, [30] * 20)
    Image.new("RGB", (96, 96), "white").save(folder / "30_0_0_20180101000000001.jpg")
    receipt = _prepare(folder, tmp_path / "out", size=96, store="compressed", crop=deadly_crop)
    assert receipt.used == 20
    data = open_dataset(tmp_path / "out")
    empty = [not image.any() for image in data.images]
    assert empty == [bool(reason) for reason in data.excluded] and sum(empty) == 1
