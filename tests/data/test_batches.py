"""Batches: which rows come when; resizing against PIL."""

from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from agecli.config import IMAGENET_MEAN, IMAGENET_STD
from agecli.data.batches import (
    Batches,
    normalise,
    resize,
    to_input,
)
from tests.archives import draw_face

IMAGES = np.arange(100, dtype=np.uint8).repeat(4 * 4 * 3).reshape(100, 4, 4, 3)


def _rows(loader, epoch=0):
    return [rows.tolist() for _, rows in loader.epoch(epoch)]


def _joined(lists):
    return list(chain.from_iterable(lists))


# Which rows come when


def test_evaluation_takes_every_row_in_order():
    rows = np.arange(0, 50, 2)
    loader = Batches(IMAGES, rows, batch_size=8)
    assert _joined(_rows(loader)) == rows.tolist()
    assert [len(batch) for batch in _rows(loader)] == [8, 8, 8, 1]
    assert len(loader) == 4


@pytest.mark.parametrize("threads", [1, 3])
def test_images_are_those_of_their_rows(threads):
    loader = Batches(IMAGES, np.arange(100), batch_size=7, shuffle=True, threads=threads)
    for images, rows in loader.epoch():
        assert images.dtype == torch.uint8
        assert (images.numpy() == IMAGES[rows]).all()


def test_an_epoch_shows_each_image_once_but_for_the_rest():
    loader = Batches(IMAGES, np.arange(100), batch_size=8, shuffle=True)
    shown = _joined(_rows(loader))
    assert len(shown) == len(set(shown)) == 96 == 8 * len(loader)


def test_seed_and_epoch_decide_the_order_and_threads_do_not():
    def loader(seed=0, threads=1):
        return Batches(
            IMAGES, np.arange(100), batch_size=8, shuffle=True, seed=seed, threads=threads
        )

    assert _rows(loader()) == _rows(loader(threads=4))
    assert _rows(loader(), 3) == _rows(loader(), 3)
    assert _rows(loader(), 0) != _rows(loader(), 1)
    assert _rows(loader(0)) != _rows(loader(1))


@pytest.mark.parametrize("accumulate", [1, 3, 5])
def test_the_number_of_batches_is_a_multiple_of_accumulate(accumulate):
    loader = Batches(IMAGES, np.arange(100), batch_size=8, shuffle=True, accumulate=accumulate)
    assert len(loader) == 12 // accumulate * accumulate == len(_rows(loader))


def test_few_images_are_repeated_to_fill_what_is_accumulated():
    loader = Batches(IMAGES, np.arange(10), batch_size=4, shuffle=True, accumulate=4)
    shown = _rows(loader)
    assert [len(batch) for batch in shown] == [4] * 4
    assert set(_joined(shown)) == set(range(10))


def test_a_batch_is_no_larger_than_the_data():
    assert [
        len(rows) for rows in _rows(Batches(IMAGES, np.arange(5), batch_size=64, shuffle=True))
    ] == [5]


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_each_batch_of_one_process(shuffle):
    def loader(batch_size, **place):
        return Batches(IMAGES, np.arange(96), batch_size=batch_size, shuffle=shuffle, **place)

    whole = _rows(loader(12))
    shares = [_rows(loader(4, rank=rank, world=3)) for rank in range(3)]
    assert [sorted(_joined(parts)) for parts in zip(*shares, strict=True)] == [
        sorted(batch) for batch in whole
    ]
    assert all(len(batch) == 4 for share in shares for batch in share)


def test_a_reader_that_stops_early_leaves_no_thread():
    import threading

    before = threading.active_count()
    reader = Batches(IMAGES, np.arange(100), batch_size=2, threads=3).epoch()
    next(reader)
    reader.close()
    assert threading.active_count() == before


# Resizing and normalising


@pytest.mark.parametrize("size", [16, 50, 64, 100])
def test_resize_is_pils_bilinear(size):
    faces = [draw_face(age, 0) for age in (5, 40, 80)]
    ours = resize(torch.from_numpy(np.stack([np.asarray(face) for face in faces])), size)
    for face, image in zip(faces, ours, strict=True):
        expected = np.asarray(face.resize((size, size), Image.Resampling.BILINEAR), dtype=float)
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1
    assert ours.dtype == torch.float32


def test_to_input_is_torchvisions_resize_and_normalise():
    from torchvision.transforms import v2

    face = draw_face(30, 1)
    reference = v2.Compose(
        [
            v2.Resize(48),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    ours = to_input(
        torch.from_numpy(np.asarray(face)[None].copy()), 48, IMAGENET_MEAN, IMAGENET_STD
    )
    worst = (ours[0] - reference(face)).abs().max()
    assert worst <= 1.01 / 255 / min(IMAGENET_STD)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_the_stored_images_are_not_changed():
    stored = torch.from_numpy(IMAGES[:5].copy())
    normalise(resize(stored, 4), (0.5,) * 3, (0.5,) * 3)
    assert (stored.numpy() == IMAGES[:5]).all()
