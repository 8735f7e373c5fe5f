"""Clusters of the same picture: copies meet, different faces do not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agecli.data import audit
from agecli.data.audit import (
    FINGERPRINT,
    HASH_DISTANCE,
    PIXEL_DIFFERENCE,
    age_spans,
    find_clusters,
    fingerprint,
    near_pairs,
)
from agecli.data.images import read_image
from tests.archives import SPREAD_AGES, draw_face, jpeg_bytes
from tests.data.pictures import textured

SIZE = 96


def _clusters(pictures, digests=None):
    pixels = [np.asarray(picture.resize((SIZE, SIZE))) for picture in pictures]
    prints = np.array([fingerprint(Image.fromarray(item)) for item in pixels], dtype=FINGERPRINT)
    digests = digests or [str(number) for number in range(len(pictures))]
    return find_clusters(digests, prints, lambda row: pixels[row]).tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: read_image(jpeg_bytes(image)),
        lambda image: image.resize((40, 40)),
        lambda image: image.resize((300, 300), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(1.06),
        lambda image: ImageEnhance.Color(image).enhance(0.9),
    ],
    ids=["recompressed", "smaller", "larger", "brighter", "paler"],
)
def test_a_changed_copy_is_the_same_picture(change):
    pictures = [textured(seed) for seed in range(5)]
    copies = [change(picture) for picture in pictures]
    assert _clusters(pictures + copies) == [0, 1, 2, 3, 4] * 2


def test_different_faces_are_different_pictures():
    faces = [draw_face(age, seed=age) for age in SPREAD_AGES]
    pictures = faces + [textured(seed) for seed in range(30)]
    assert len(set(_clusters(pictures))) == len(pictures)


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


def test_equal_files_meet_without_a_look_at_their_pixels():
    prints = np.zeros(4, dtype=FINGERPRINT)
    prints["thumbnail"] = np.array([0, 250, 0, 120]).reshape(4, 1, 1, 1)

    def read(row):
        raise AssertionError("no need")

    assert find_clusters(["a", "b", "a", "c"], prints, read).tolist() == [0, 1, 0, 2]


def test_likeness_is_passed_on_along_a_chain():
    greys = [Image.new("RGB", (SIZE, SIZE), (level,) * 3) for level in (100, 120, 110)]
    assert _clusters(greys) == [0, 0, 0]
    assert _clusters(greys[:2]) == [0, 1]


def test_no_pictures_have_no_clusters():
    empty = np.zeros(0, dtype=FINGERPRINT)
    assert find_clusters([], empty, lambda row: None).tolist() == []
    assert near_pairs(empty).shape == (0, 2)


def _random_prints(seed, count=400):
    """Make prints of which many are near: some origins, with some bits and colours changed."""
    rng = np.random.default_rng(seed)
    prints = np.zeros(count, dtype=FINGERPRINT)
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
    monkeypatch.setattr(audit, "_BLOCK", block)
    monkeypatch.setattr(audit, "_PAIRS", block)
    prints = _random_prints(block, 250)
    expected = _all_near_pairs(prints)
    assert len(expected) > 300
    assert near_pairs(prints).tolist() == expected


def count_comparisons(monkeypatch, prints):
    """Find the pairs; return how many hashes were compared at a time."""
    compared, count = [], np.bitwise_count
    monkeypatch.setattr(np, "bitwise_count", lambda bits: compared.append(bits.size) or count(bits))
    near_pairs(prints)
    return compared


def test_only_hashes_that_share_a_band_are_compared(monkeypatch):
    prints = np.zeros(1000, dtype=FINGERPRINT)
    prints["bits"] = np.random.default_rng(0).integers(2**63, size=1000, dtype=np.uint64)
    assert sum(count_comparisons(monkeypatch, prints)) < 100_000  # of a million


def test_equal_hashes_are_compared_a_bounded_block_at_a_time(monkeypatch):
    monkeypatch.setattr(audit, "_BLOCK", 10_000)
    compared = count_comparisons(monkeypatch, np.zeros(300, dtype=FINGERPRINT))
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
        assert len(near_pairs(prints)) == 1


def test_clusters_are_the_components_of_the_confirmed_pairs():
    pictures = [textured(number % 9) for number in range(30)]
    pictures = [
        ImageEnhance.Brightness(picture).enhance(1 + 0.01 * number)
        for number, picture in enumerate(pictures)
    ]
    pixels = [np.asarray(picture) for picture in pictures]
    prints = np.array([fingerprint(Image.fromarray(item)) for item in pixels])
    small = [np.asarray(p.resize((112, 112), Image.Resampling.BILINEAR), int) for p in pictures]
    edges = [
        (i, j)
        for i, j in near_pairs(prints).tolist()
        if np.abs(small[i] - small[j]).mean() < PIXEL_DIFFERENCE
    ]
    rows, columns = np.array(edges).T
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(30, 30))
    expected = connected_components(graph, directed=False)[1]
    assert _clusters(pictures) == expected.tolist()
    assert 9 <= len(set(expected.tolist())) < 30


def test_age_spans_are_the_years_between_a_clusters_ages():
    clusters, ages = np.array([0, 1, 0, 2, 1, 0]), np.array([30, 5, 41, 8, 5, 33])
    assert age_spans(clusters, ages).tolist() == [11, 0, 11, 0, 0, 11]
    assert age_spans(np.array([0, 0, 1]), np.array([0, 0, 116])).tolist() == [0, 0, 0]
    assert age_spans(np.array([], int), np.array([], int)).tolist() == []
