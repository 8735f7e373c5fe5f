"""Augmentation: moves against hand-made turns, JPEG against PIL's, colours against factors."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from agecli.config import IMAGENET_MEAN, IMAGENET_STD
from agecli.data import augment as augmentation
from agecli.data.augment import (
    BRIGHTNESS,
    CAST,
    COMPRESSED,
    ERASED_AREA,
    GREY,
    HAIR,
    SCALE,
    SOFTENED,
    WILD_SCALE,
    Draw,
    augment,
    compress,
    dye,
    erase,
    hue_turns,
    jpeg,
    move,
    recolour,
    soften,
)
from agecli.data.batches import to_augmented_input, to_input


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class AtMost:
    """A generator that draws the largest number each time."""

    def random(self, size: tuple, dtype: type) -> np.ndarray:
        return np.ones(size, dtype)


def random_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# Moves


def _batch(count=64, side=32):
    rng = torch.Generator().manual_seed(0)
    low = torch.rand(count, 3, 6, 6, generator=rng)  # smooth, so that half a pixel is little
    return torch.nn.functional.interpolate(low, (side, side), mode="bicubic")


def _augmented(batch, monkeypatch, *, rotation=0.0, scale=1.0, shift=0.0, seed=0):
    monkeypatch.setattr(augmentation, "ROTATION", rotation)
    monkeypatch.setattr(augmentation, "SHIFT", shift)
    return move(batch, Draw(batch, AtMost() if seed is None else seeded(seed)), scale)


def _mirrored(before, after):
    """Return per image whether it was mirrored (1), left as it is (0) or changed otherwise (2)."""
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
    after = _augmented(batch, monkeypatch, rotation=90.0, seed=None)
    turns = [torch.rot90(batch, times, (2, 3)) for times in (1, 3)]
    assert min((after - turn).abs().max() for turn in turns) < 1e-4


def test_a_shift_is_in_image_sides(monkeypatch):
    batch = _batch(4)
    after = _augmented(batch, monkeypatch, shift=0.25, seed=None)
    torch.testing.assert_close(after[:, :, :24, :24], batch[:, :, 8:, 8:], atol=1e-4, rtol=0)


def test_a_scale_of_two_shows_the_middle_twice_as_large_or_all_half_as_large(monkeypatch):
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    after = _augmented(ramp, monkeypatch, scale=2.0, seed=None)
    slope = (after[0, 0, 16, 17] - after[0, 0, 16, 16]) / (ramp[0, 0, 0, 1] - ramp[0, 0, 0, 0])
    assert slope == pytest.approx(2, abs=1e-3)


def test_what_comes_in_from_beyond_the_border_is_the_border(monkeypatch):
    plain = torch.full((8, 3, 16, 16), 0.7)
    after = _augmented(plain, monkeypatch, rotation=45.0, scale=2.0, shift=0.5)
    torch.testing.assert_close(after, plain)


@pytest.mark.parametrize(("kind", "largest"), [("light", SCALE), ("wild", WILD_SCALE)])
def test_each_kind_scales_by_up_to_its_own_factor(monkeypatch, kind, largest):
    for name in ("ROTATION", "SHIFT", "HAIR", "SOFTENED", "RECOLOURED", "GREY", "COMPRESSED"):
        monkeypatch.setattr(augmentation, name, 0.0)
    monkeypatch.setattr(augmentation, "ERASED", 0.0)
    ramp = torch.linspace(50, 200, 64).expand(400, 3, 64, 64)
    middle = augment(ramp, kind, seeded())[:, 0, 32]
    factors = ((middle[:, 33] - middle[:, 31]) / (ramp[0, 0, 0, 33] - ramp[0, 0, 0, 31])).abs()
    assert factors.max().item() == pytest.approx(largest, rel=0.02)
    assert factors.min().item() == pytest.approx(1 / largest, rel=0.02)


# What photographs add


def faces(count: int = 32, side: int = 40) -> torch.Tensor:
    """Return smooth coloured images with some noise, values 0 to 255."""
    smooth = _batch(count, side) * 200 + 20
    return (smooth + random_images(*smooth.shape, seed=3) * 20).clamp(0, 255)


@pytest.mark.parametrize("quality", [15, 30, 60, 90])
@pytest.mark.parametrize("side", [40, 45])
def test_jpeg_is_pils(quality: int, side: int):
    image = faces(1, side).round()
    pixels = image[0].permute(1, 2, 0).numpy().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    truth = np.asarray(Image.open(file)).astype(float)
    ours = jpeg(image, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()
    lost = np.abs(truth - pixels).mean()
    assert np.abs(ours - truth).mean() < max(0.15 * lost, 1.0)  # PIL rounds colours to bytes
    assert np.abs(ours - pixels).mean() == pytest.approx(lost, rel=0.15)


@pytest.mark.parametrize(
    ("change", "share"), [(soften, SOFTENED), (compress, COMPRESSED)], ids=["soften", "compress"]
)
def test_only_a_share_of_the_images_loses_detail(change, share: float):
    images = faces(400, 16)
    changed = change(images, Draw(images, seeded(2)))
    touched = (changed != images).flatten(1).any(1)
    assert touched.float().mean() == pytest.approx(share, abs=0.08)
    assert torch.equal(changed[~touched], images[~touched])


def test_dye_changes_a_share_of_the_images_around_the_face_and_never_its_middle():
    images = torch.full((400, 3, 50, 50), 120.0)
    dyed = dye(images, Draw(images, seeded(2)))
    touched = (dyed != images).flatten(1).any(1)
    assert touched.float().mean() == pytest.approx(HAIR, abs=0.05)
    assert torch.equal(dyed[:, :, 16:36, 16:34], images[:, :, 16:36, 16:34])  # eyes, nose, mouth
    change = (dyed - images)[touched].abs().amax(1)  # (n, 50, 50)
    assert (change[:, 0, 0] > 0).all()  # the corners above, of each
    below = (change[:, -1, 0] > 0).float().mean()
    assert 0.05 < below < 0.95  # some hair is long, some short
    assert len(dyed[touched].flatten(1).unique(dim=0)) == touched.sum()


def test_dye_makes_dark_hair_light_and_light_hair_dark_with_a_soft_edge(monkeypatch):
    monkeypatch.setattr(augmentation, "HAIR", 1.0)
    images = torch.full((400, 3, 100, 100), 120.0)
    change = dye(images, Draw(images, seeded(3))).sub(120)
    corner = change[:, :, 0, 0]
    assert abs(corner.mean().item()) < 8
    light = corner.mean(1)
    assert -105 < light.min() < -60 and 60 < light.max() < 105
    assert (corner.amax(1) - corner.amin(1)).median() > 5  # colours, not only light
    steps = change.diff(dim=3).abs().amax((1, 2, 3)) / change.abs().amax((1, 2, 3))
    assert steps.max() < 0.25


def test_dyed_colours_stay_in_range(monkeypatch):
    monkeypatch.setattr(augmentation, "HAIR", 1.0)
    images = random_images(64, 3, 20, 20) * 255
    dyed = dye(images, Draw(images, seeded()))
    assert dyed.min() == 0 and dyed.max() == 255


def test_a_turned_hue_is_pils_ycc_turned():
    angle = math.radians(30)
    image = faces(1, 8).mul(0.4).add(80).round()  # far from the ends of the range
    pixels = image[0].permute(1, 2, 0).numpy().astype(np.uint8)
    luma, *chroma = np.moveaxis(np.asarray(Image.fromarray(pixels).convert("YCbCr"), float), 2, 0)
    blue, red = (plane - 128 for plane in chroma)
    turned = [
        luma,
        math.cos(angle) * blue - math.sin(angle) * red + 128,
        math.sin(angle) * blue + math.cos(angle) * red + 128,
    ]
    ycc = Image.fromarray(np.stack(turned, 2).round().astype(np.uint8), "YCbCr")
    truth = np.moveaxis(np.asarray(ycc.convert("RGB"), float), 2, 0)
    ours = np.einsum("kc,chw->khw", hue_turns(np.float32([angle]))[0], image[0].numpy())
    assert np.abs(ours - truth).max() < 4  # PIL rounds to bytes twice
    assert np.abs(ours - image[0].numpy()).mean() > 4


def test_hue_alone_keeps_brightness_and_greys(monkeypatch):
    for name in ("BRIGHTNESS", "CAST", "CONTRAST"):
        monkeypatch.setattr(augmentation, name, 1.0)
    monkeypatch.setattr(augmentation, "GREY", 0.0)
    monkeypatch.setattr(augmentation, "RECOLOURED", 1.0)
    images = random_images(64, 3, 4, 4) * 100 + 70
    changed = recolour(images, Draw(images, seeded()))
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose((changed * luma).sum(1), (images * luma).sum(1), atol=1e-2)
    assert (changed - images).abs().amax((1, 2, 3)).median() > 5
    grey = images[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(recolour(grey, Draw(grey, seeded())), grey, atol=1e-2)


def test_softening_leaves_as_many_pixels_as_drawn(monkeypatch):
    monkeypatch.setattr(augmentation, "SOFTENED", 1.0)
    board = torch.tensor([0.0, 255.0]).repeat(16).expand(4, 3, 32, 32)  # stripes, one pixel wide
    strengths = set()
    for seed in range(8):
        softened = soften(board, Draw(board, seeded(seed)))
        assert softened.mean().item() == pytest.approx(127.5, abs=2)
        strengths.add(round(softened.std().item(), 2))
    assert len(strengths) > 4 and min(strengths) < 10  # a batch has one, and some take all stripes


def test_light_is_a_factor_that_is_as_often_above_one_as_below(monkeypatch):
    monkeypatch.setattr(augmentation, "CONTRAST", 1.0)
    monkeypatch.setattr(augmentation, "RECOLOURED", 1.0)  # of greys, whose hue is none
    images = torch.full((2000, 3, 1, 1), 60.0)
    changed = recolour(images, Draw(images, seeded()))[..., 0, 0] / 60
    factors = changed.log().flatten()
    assert abs(factors.mean().item()) < 0.05
    assert factors.abs().max().item() <= math.log(BRIGHTNESS) + math.log(CAST)
    assert factors.abs().max().item() > math.log(BRIGHTNESS)
    grey = (changed - changed[:, :1]).abs().amax(1) < 1e-5
    assert grey.float().mean() == pytest.approx(GREY, abs=0.03)


def test_contrast_keeps_the_mean_and_scales_around_it(monkeypatch):
    for name in ("BRIGHTNESS", "CAST"):
        monkeypatch.setattr(augmentation, name, 1.0)
    for name in ("HUE", "GREY"):
        monkeypatch.setattr(augmentation, name, 0.0)
    monkeypatch.setattr(augmentation, "RECOLOURED", 1.0)
    images = random_images(16, 3, 5, 5) * 60 + 90
    changed = recolour(images, Draw(images, seeded(1)))
    mean = images.mean((1, 2, 3), keepdim=True)
    ratio = ((changed - mean) / (images - mean)).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-2)
    assert ratio[:, 0].std() > 0.1


def test_colours_stay_in_range():
    images = random_images(64, 3, 6, 6) * 255
    changed = recolour(images, Draw(images, seeded(1)))
    assert changed.min() >= 0 and changed.max() <= 255


def test_half_of_the_images_keep_their_light(monkeypatch):
    monkeypatch.setattr(augmentation, "GREY", 0.0)
    images = torch.full((2000, 3, 1, 1), 60.0)
    kept = (recolour(images, Draw(images, seeded())) == images).flatten(1).all(1)
    assert kept.float().mean() == pytest.approx(0.5, abs=0.04)


def test_erasing_fills_one_rectangle_in_about_a_third_of_the_images():
    images = torch.full((400, 3, 40, 40), -1.0)
    erased = erase(images, Draw(images, seeded())) >= 0
    assert torch.equal(erased[:, 0], erased[:, 2])  # all channels
    touched = erased.flatten(1).any(1)
    assert 0.2 < touched.float().mean() < 0.4
    low, high = ERASED_AREA
    for mask in erased[touched, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])  # a rectangle ...
        for line in (rows, columns):
            places = line.nonzero()[:, 0]
            assert places[-1] - places[0] + 1 == len(places)  # ... of one piece
        share = mask.float().mean()
        assert low * 0.5 < share < high * 1.3  # whole pixels


# All together


@pytest.mark.parametrize("kind", ["none", "light", "wild"])
def test_each_kind_comes_between_resizing_and_normalising(kind):
    images = (random_images(6, 20, 20, 3) * 255).byte()
    look = 16, IMAGENET_MEAN, IMAGENET_STD
    plain = to_input(images, *look)
    one, same, other = (to_augmented_input(images, *look, kind, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert torch.equal(one, other) == torch.equal(one, plain) == (kind == "none")


def test_wild_changes_a_plain_image_and_light_does_not():
    plain = torch.full((64, 3, 12, 12), 100.0)
    torch.testing.assert_close(augment(plain, "light", seeded()), plain)
    changed = (augment(plain, "wild", seeded()) - plain).abs().amax((1, 2, 3))
    assert (changed > 1).float().mean() > 0.5


def test_a_batch_of_one_is_augmented_too():
    for seed in range(20):
        assert augment(faces(1), "wild", seeded(seed)).shape == (1, 3, 40, 40)


def test_without_a_generator_torchs_own_decides():
    images = faces(4)
    torch.manual_seed(5)
    one = augment(images, "wild")
    torch.manual_seed(5)
    assert torch.equal(one, augment(images, "wild"))
