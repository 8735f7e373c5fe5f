"""The earlier measure: dHash finds candidates, the mean difference of their pixels decides."""

import numpy as np
import pytest
from PIL import Image

from agecli.data import dhash
from agecli.data.dhash import HASH_DISTANCE, PIXEL_DIFFERENCE, TRACE, fingerprint
from tests.data.pictures import clusters_of, near_pairs, textured

SIZE = 96


def _clusters(pictures):
    return clusters_of(pictures, dhash)


def test_a_bit_says_whether_a_cell_is_brighter_than_its_left_neighbour():
    ramp = np.arange(9, dtype=np.uint8)[None].repeat(8, 0) * 20
    for levels, bits in ((ramp, 2**64 - 1), (ramp[:, ::-1], 0), (0 * ramp, 0)):
        assert fingerprint(Image.fromarray(levels).convert("RGB"))["bits"] == bits


def test_equal_hashes_are_not_enough():
    ramp = np.linspace(0, 200, SIZE).astype(np.uint8)[None].repeat(SIZE, 0)
    dark, bright = (Image.fromarray(ramp + shift).convert("RGB") for shift in (0, 50))
    assert fingerprint(dark)["bits"] == fingerprint(bright)["bits"]
    assert _clusters([dark, bright]) == [0, 1]


def test_the_mean_pixel_difference_decides():
    picture = Image.new("RGB", (SIZE, SIZE), (100, 100, 100))
    near, far = (
        Image.new("RGB", (SIZE, SIZE), (100 + shift,) * 3)
        for shift in (PIXEL_DIFFERENCE - 1, PIXEL_DIFFERENCE)
    )
    assert _clusters([picture, near]) == [0, 0]
    assert _clusters([picture, far]) == [0, 1]


def _random_prints(seed, count=400):
    """Return prints, many of them near: some origins, with some bits and colours changed."""
    rng = np.random.default_rng(seed)
    prints = np.zeros(count, dtype=TRACE)
    prints["known"] = True
    origins = rng.integers(2**63, size=12, dtype=np.uint64)
    colours = rng.integers(40, 200, size=(12, 8, 8, 3))
    for number in range(count):
        origin = rng.integers(12)
        bits = int(origins[origin])
        for bit in rng.integers(64, size=rng.integers(9)):
            bits ^= 1 << int(bit)
        prints[number]["bits"] = bits
        prints[number]["thumbnail"] = colours[origin] + rng.integers(-25, 26)
    return prints


def _all_near_pairs(prints):
    """Compare everything with everything, one by one."""
    pairs = []
    for i in range(len(prints)):
        for j in range(i + 1, len(prints)):
            bits = int(prints["bits"][i]) ^ int(prints["bits"][j])
            colours = prints["thumbnail"][[i, j]].astype(int)
            mean = np.abs(colours[0] - colours[1]).mean()
            if bits.bit_count() <= HASH_DISTANCE and mean < PIXEL_DIFFERENCE + 1:
                pairs.append([i, j])
    return pairs


@pytest.mark.parametrize("block", [2**20, 64])
def test_near_pairs_are_those_of_a_full_comparison(block, monkeypatch):
    monkeypatch.setattr(dhash, "_BLOCK", block)
    monkeypatch.setattr(dhash, "_PAIRS", block)
    prints = _random_prints(block, 250)
    expected = _all_near_pairs(prints)
    assert len(expected) > 300
    assert near_pairs(prints, dhash) == expected


def count_comparisons(monkeypatch, prints):
    """Find the pairs; return how many hashes were compared at a time."""
    compared, count = [], np.bitwise_count
    monkeypatch.setattr(np, "bitwise_count", lambda bits: compared.append(bits.size) or count(bits))
    near_pairs(prints, dhash)
    return compared


def test_only_hashes_that_share_a_band_are_compared(monkeypatch):
    prints = np.zeros(1000, dtype=TRACE)
    prints["known"] = True
    prints["bits"] = np.random.default_rng(0).integers(2**63, size=1000, dtype=np.uint64)
    assert sum(count_comparisons(monkeypatch, prints)) < 100_000  # of a million


def test_equal_hashes_are_compared_a_bounded_block_at_a_time(monkeypatch):
    monkeypatch.setattr(dhash, "_BLOCK", 10_000)
    prints = np.zeros(300, dtype=TRACE)
    prints["known"] = True
    compared = count_comparisons(monkeypatch, prints)
    assert 8_000 < max(compared) <= 10_000
    assert len(compared) == 7 * 10  # for each band, 33 at a time with all that follow


def test_the_sieve_of_thumbnails_loses_no_pair_that_the_pixels_confirm():
    rng = np.random.default_rng(0)
    picture = textured(1)
    base = np.asarray(picture, dtype=int)
    for spread in (4, 8, 12, 16, 20):
        other = np.clip(base + rng.integers(-spread, spread + 1, size=base.shape), 0, 255)
        other = Image.fromarray(other.astype(np.uint8))
        prints = np.array([fingerprint(picture), fingerprint(other)])
        assert len(near_pairs(prints, dhash)) == 1


def test_likeness_is_passed_on_along_a_chain():
    greys = [Image.new("RGB", (SIZE, SIZE), (level,) * 3) for level in (100, 120, 110)]
    assert _clusters(greys) == [0, 0, 0]
    assert _clusters(greys[:2]) == [0, 1]
