"""Perturbations, against what arithmetic and trigonometry say of them."""

import io

import numpy as np
import pytest
from PIL import Image

from agecli.evaluation.perturbations import COVER, PERTURBATIONS, middle, perturb, surround

SIDE = 200
BY_NAME = {one.name: one for one in PERTURBATIONS}
SMOOTH = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(40, 130, (8, 8, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
)
NOISE = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def apply(name: str, strength: str, chip: np.ndarray, row: int = 0) -> np.ndarray:
    wide = perturb(surround(chip[None]), np.array([row]), BY_NAME[name], strength)
    assert wide.shape[1] == 2 * SIDE
    (perturbed,) = middle(wide)
    assert perturbed.shape == chip.shape and perturbed.dtype == np.uint8
    return perturbed


def dot(x: float, y: float) -> np.ndarray:
    """Return a black chip with a white dot of 7 px around x, y, from the chip's centre."""
    chip = np.zeros((SIDE, SIDE, 3), np.uint8)
    column, row = round(SIDE / 2 + x), round(SIDE / 2 + y)
    chip[row - 3 : row + 4, column - 3 : column + 4] = 255
    return chip


def centre(chip: np.ndarray) -> np.ndarray:
    """Return the mean place x, y of what is bright, from the chip's centre."""
    light = chip[..., 0].astype(float)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


@pytest.mark.parametrize("degrees", [10, 20, 30, 45])
def test_a_dot_turns_as_trigonometry_says_to_either_side(degrees):
    before = centre(dot(50, -20))
    seen = set()
    for row in range(8):
        after = centre(apply("rotation", f"{degrees}°", dot(50, -20), row))
        for sign in (-1, 1):
            turn = np.radians(sign * degrees)
            wanted = [
                np.cos(turn) * before[0] - np.sin(turn) * before[1],
                np.sin(turn) * before[0] + np.cos(turn) * before[1],
            ]
            if np.abs(after - wanted).max() < 0.7:
                seen.add(sign)
    assert seen == {-1, 1}


@pytest.mark.parametrize("factor", [0.6, 0.75, 0.8, 1.35, 1.6])
def test_scale_moves_a_dot_away_from_the_centre_by_its_factor(factor):
    chip = dot(40, -25)
    after = centre(apply("scale", f"×{factor:g}", chip))
    np.testing.assert_allclose(after, factor * centre(chip), atol=0.7)


@pytest.mark.parametrize("share", [5, 15, 25])
def test_shift_moves_a_dot_by_its_share_of_the_side_in_many_directions(share):
    chip = dot(0, 0)
    moves = np.array([centre(apply("shift", f"{share} %", chip, row)) for row in range(12)])
    moves -= centre(chip)
    np.testing.assert_allclose(np.hypot(*moves.T), share / 100 * SIDE, atol=0.7)
    assert (np.sign(moves).min(axis=0) == -1).all() and (np.sign(moves).max(axis=0) == 1).all()


def test_what_lies_beyond_the_border_is_the_border():
    plain = np.full((SIDE, SIDE, 3), 77, np.uint8)
    for name, strength in (("rotation", "45°"), ("scale", "×0.6"), ("shift", "25 %")):
        assert np.abs(apply(name, strength, plain).astype(int) - 77).max() <= 1


@pytest.mark.parametrize("pixels", [64, 32, 24])
def test_few_pixels_keep_no_finer_waves(pixels):
    wave = lambda cycles: np.sin(2 * np.pi * cycles * np.arange(SIDE) / SIDE)  # noqa: E731
    fine, coarse = (
        np.broadcast_to((127 + 100 * wave(cycles))[None, :, None], (SIDE, SIDE, 3)).astype(np.uint8)
        for cycles in (0.9 * pixels, pixels / 12)
    )
    name = f"{pixels} px"
    assert apply("low resolution", name, fine).std() < 0.1 * fine.std()
    assert apply("low resolution", name, coarse).std() > 0.8 * coarse.std()


@pytest.mark.parametrize("share", [0.5, 1, 2])
def test_a_blurred_edge_is_as_wide_as_the_gaussians_deviation(share):
    chip = np.zeros((SIDE, SIDE, 3), np.uint8)
    chip[:, SIDE // 2 :] = 255
    edge = np.diff(apply("blur", f"{share:g} %", chip)[SIDE // 2, :, 0].astype(float))
    x = np.arange(len(edge))
    mean = (edge * x).sum() / edge.sum()
    deviation = np.sqrt((edge * (x - mean) ** 2).sum() / edge.sum())
    assert deviation == pytest.approx(share / 100 * SIDE, rel=0.15)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 1.5])
def test_brightness_multiplies_the_mean_and_stops_at_white(factor):
    bright = apply("brightness", f"×{factor:g}", SMOOTH)
    assert bright.mean() == pytest.approx(factor * SMOOTH.mean(), abs=0.5)
    assert (apply("brightness", "×1.5", np.full_like(SMOOTH, 200)) == 255).all()


@pytest.mark.parametrize(("cast", "channel"), [("warm", 0), ("green", 1), ("blue", 2)])
def test_a_cast_lifts_its_channel_over_the_others(cast, channel):
    change = apply("colour cast", cast, SMOOTH).mean(axis=(0, 1)) / SMOOTH.mean(axis=(0, 1))
    assert (
        change.argmax() == channel and change[channel] > 1.15 > 1 >= np.delete(change, channel)[0]
    )


def test_jpeg_is_what_a_file_of_that_quality_shows():
    errors = []
    for quality in (50, 20, 10):
        shown = apply("JPEG", f"quality {quality}", NOISE)
        file = io.BytesIO()
        (wide,) = surround(NOISE[None])
        Image.fromarray(wide).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            truth = middle(np.asarray(image.convert("RGB"))[None])[0]
        np.testing.assert_array_equal(shown, truth)
        errors.append(np.abs(shown.astype(int) - NOISE).mean())
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize(
    ("part", "rows", "columns"),
    [("eyes", slice(40, 74), slice(24, 176)), ("mouth", slice(126, 166), slice(50, 150))],
)
def test_occlusion_covers_its_box_and_nothing_else(part, rows, columns):
    covered = apply("occlusion", part, NOISE)
    assert (covered[rows, columns] == COVER).all()
    covered[rows, columns] = NOISE[rows, columns]
    np.testing.assert_array_equal(covered, NOISE)


def test_what_a_picture_surrounds_is_its_chip_and_the_border_is_drawn_out():
    for chips in (np.stack([NOISE, SMOOTH]), NOISE[None, :35, :35]):
        side = chips.shape[1]
        wide = surround(chips)
        assert wide.shape == (len(chips), 2 * side, 2 * side, 3)
        np.testing.assert_array_equal(middle(wide), chips)
        assert (wide[:, 0, 0] == chips[:, 0, 0]).all() and (
            wide[:, -1, -1] == chips[:, -1, -1]
        ).all()


def test_what_leaves_the_chip_is_still_in_the_picture():
    chip = dot(-60, 0)
    (wide,) = perturb(surround(chip[None]), np.array([0]), BY_NAME["scale"], "×1.6")
    light = np.argwhere(wide[..., 0] > 200)
    assert light.mean(axis=0) == pytest.approx((200, 200 - 1.6 * 60), abs=2)


def test_an_image_is_perturbed_alike_in_any_batch_and_the_chips_stay_as_they_are():
    chips, rows = surround(np.stack([SMOOTH, NOISE, NOISE])), np.array([3, 11, 8])
    kept = chips.copy()
    for one in PERTURBATIONS:
        strength = next(iter(one.strengths))
        together = perturb(chips, rows, one, strength)
        alone = [perturb(chips[i : i + 1], rows[i : i + 1], one, strength)[0] for i in range(3)]
        np.testing.assert_array_equal(together, alone)
        assert (together[1] != chips[1]).any()
    np.testing.assert_array_equal(chips, kept)
