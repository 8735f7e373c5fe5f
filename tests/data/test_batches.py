"""Batches: which rows come when; resizing against PIL, augmentation against hand-made turns."""

from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from agecli.config import IMAGENET_MEAN, IMAGENET_STD
from agecli.data import batches
from agecli.data.batches import (
    ERASED_AREA,
    Batches,
    augment,
    erase,
    normalise,
    recolour,
    resize,
    to_augmented_input,
    to_input,
)
from tests.faces import draw_face

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


@pytest.mark.parametrize("workers", [1, 3])
def test_images_are_those_of_their_rows(workers):
    loader = Batches(IMAGES, np.arange(100), batch_size=7, shuffle=True, workers=workers)
    for images, rows in loader.epoch():
        assert images.dtype == torch.uint8
        assert (images.numpy() == IMAGES[rows]).all()


def test_an_epoch_shows_each_image_once_but_for_the_rest():
    loader = Batches(IMAGES, np.arange(100), batch_size=8, shuffle=True)
    shown = _joined(_rows(loader))
    assert len(shown) == len(set(shown)) == 96 == 8 * len(loader)


def test_seed_and_epoch_decide_the_order_and_threads_do_not():
    def loader(seed=0, workers=1):
        return Batches(
            IMAGES, np.arange(100), batch_size=8, shuffle=True, seed=seed, workers=workers
        )

    assert _rows(loader()) == _rows(loader(workers=4))
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
    reader = Batches(IMAGES, np.arange(100), batch_size=2, workers=3).epoch()
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


# Augmentation


def _batch(count=64, side=32):
    rng = torch.Generator().manual_seed(0)
    low = torch.rand(count, 3, 6, 6, generator=rng)  # smooth, so that half a pixel is little
    return torch.nn.functional.interpolate(low, (side, side), mode="bicubic")


def _augmented(batch, monkeypatch, *, rotation=0.0, scale=1.0, shift=0.0, seed=0):
    monkeypatch.setattr(batches, "ROTATION", rotation)
    monkeypatch.setattr(batches, "SCALE", scale)
    monkeypatch.setattr(batches, "SHIFT", shift)
    return augment(batch, torch.Generator().manual_seed(seed))


def _mirrored(before, after):
    """Tell per image whether it was mirrored (1), left as it is (0) or changed otherwise (2)."""
    same = (after - before).abs().amax((1, 2, 3)) < 1e-4
    flipped = (after - before.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    return torch.where(same, 0, torch.where(flipped, 1, 2)).tolist()


def test_without_ranges_an_image_stays_or_is_mirrored_half_of_the_time(monkeypatch):
    batch = _batch()
    kinds = _mirrored(batch, _augmented(batch, monkeypatch))
    assert set(kinds) == {0, 1}
    assert 16 <= sum(kinds) <= 48


@pytest.mark.parametrize(
    "ranges",
    [{"rotation": 15.0}, {"scale": 1.15}, {"shift": 0.06}],
    ids=lambda item: next(iter(item)),
)
def test_each_range_changes_every_image_its_own_way(monkeypatch, ranges):
    one = _batch(1).expand(16, -1, -1, -1)
    after = _augmented(one, monkeypatch, **ranges)
    assert _mirrored(one, after) == [2] * 16
    assert len(after.flatten(1).unique(dim=0)) == 16


def test_the_generator_decides(monkeypatch):
    batch = _batch()
    one, same, other = (_augmented(batch, monkeypatch, rotation=15.0, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_quarter_turn_is_numpys(monkeypatch):
    batch = _batch(8)
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count))  # all at their most
    after = _augmented(batch, monkeypatch, rotation=90.0)
    turns = [torch.rot90(batch, times, (2, 3)) for times in (1, 3)]
    assert min((after - turn).abs().max() for turn in turns) < 1e-4


def test_a_shift_is_in_image_sides(monkeypatch):
    batch = _batch(4)
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count))
    after = _augmented(batch, monkeypatch, shift=0.25)
    torch.testing.assert_close(after[:, :, :24, :24], batch[:, :, 8:, 8:], atol=1e-4, rtol=0)


def test_a_scale_of_two_shows_the_middle_twice_as_large_or_all_half_as_large(monkeypatch):
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count))
    after = _augmented(ramp, monkeypatch, scale=2.0)
    slope = (after[0, 0, 16, 17] - after[0, 0, 16, 16]) / (ramp[0, 0, 0, 1] - ramp[0, 0, 0, 0])
    assert slope == pytest.approx(2, abs=1e-3)


def test_what_comes_in_from_beyond_the_border_is_the_border(monkeypatch):
    plain = torch.full((8, 3, 16, 16), 0.7)
    after = _augmented(plain, monkeypatch, rotation=45.0, scale=2.0, shift=0.5)
    torch.testing.assert_close(after, plain)


# Strong augmentation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_recolouring_is_pils_enhancement_by_the_factors_drawn(monkeypatch):
    """Brightness as PIL's ImageEnhance; each image has factors of its own inside the range."""
    monkeypatch.setattr(batches, "LIGHT", 0.3)
    grey = torch.full((64, 3, 4, 4), 100.0)
    changed = recolour(grey.clone(), seeded())  # contrast and saturation leave an even grey alone
    factors = changed[:, 0, 0, 0] / 100
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed), atol=1e-3)
    assert 0.7 <= factors.min() < 0.8 and 1.2 < factors.max() <= 1.3


def test_recolouring_keeps_values_in_range_and_without_light_the_image():
    images = torch.rand(8, 3, 6, 6, generator=seeded()) * 255
    changed = recolour(images.clone(), seeded(1))
    assert changed.min() >= 0 and changed.max() <= 255
    assert not torch.allclose(changed, images, atol=1)


def test_no_change_of_colour_is_the_identity(monkeypatch):
    monkeypatch.setattr(batches, "LIGHT", 0.0)
    images = torch.rand(4, 3, 6, 6, generator=seeded()) * 255
    assert torch.allclose(recolour(images.clone(), seeded(1)), images, atol=1e-3)


def test_saturation_moves_along_the_grey_axis(monkeypatch):
    images = torch.rand(16, 3, 5, 5, generator=seeded()) * 60 + 90
    changed = recolour(images.clone(), seeded(1))
    before = images - images.mean(1, keepdim=True)
    after = changed - changed.mean(1, keepdim=True)
    ratio = (after / before).flatten(1)  # brightness · contrast · saturation, one per image
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=2e-2)
    assert ratio[:, 0].std() > 0.1


def test_erasing_fills_one_rectangle_in_about_half_of_the_images():
    images = torch.full((400, 3, 40, 40), -1.0)
    erased = erase(images, seeded()) >= 0
    assert torch.equal(erased[:, 0], erased[:, 2])  # all channels
    touched = erased.flatten(1).any(1)
    assert 0.4 < touched.float().mean() < 0.6
    low, high = ERASED_AREA
    for mask in erased[touched, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])  # a rectangle ...
        for line in (rows, columns):
            places = line.nonzero()[:, 0]
            assert places[-1] - places[0] + 1 == len(places)  # ... of one piece
        share = mask.float().mean()
        assert low * 0.5 < share < high * 1.3  # whole pixels


def test_strong_augmentation_comes_on_top_of_the_light_one():
    images = torch.randint(0, 256, (6, 20, 20, 3), dtype=torch.uint8, generator=seeded())
    look = 20, IMAGENET_MEAN, IMAGENET_STD
    light = to_augmented_input(images, *look, seeded(1))
    strong = [to_augmented_input(images, *look, seeded(1), strong=True) for _ in range(2)]
    assert torch.equal(*strong)
    assert not torch.allclose(light, strong[0], atol=0.1)
