"""Fingerprints of what was seen: copies are known again, other faces are not."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from agecli.data import seen
from agecli.data.images import read_image
from agecli.data.seen import BYTES, NEAR, Seen, fingerprints, fingerprints_of, merge
from agecli.data.store import open_dataset
from tests.archives import SPREAD_AGES, draw_face, jpeg_bytes

FACES = [draw_face(age, seed=age, size=200) for age in SPREAD_AGES]
OTHERS = [draw_face(age, seed=1000 + age, size=200) for age in SPREAD_AGES]
COPIES = {
    "itself": lambda image: image,
    "recompressed": lambda image: read_image(jpeg_bytes(image, quality=70)),
    "at 90 %": lambda image: image.resize((180, 180), Image.Resampling.BILINEAR),
    "as a model sees it": lambda image: image.resize((96, 96), Image.Resampling.BILINEAR),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
}


def prints_of(pictures) -> np.ndarray:
    return np.concatenate([fingerprints(np.asarray(picture)[None]) for picture in pictures])


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_as_people_make_them_are_known_again(change):
    assert Seen(prints_of(FACES)).knows(prints_of(map(change, FACES))).all()


def test_other_faces_are_not_known():
    assert not Seen(prints_of(FACES)).knows(prints_of(OTHERS)).any()


def test_fingerprints_differ_by_as_many_bits_as_are_counted_one_by_one():
    rng = np.random.default_rng(0)
    one = rng.integers(256, size=BYTES, dtype=np.uint8)
    for flips, known in ((NEAR, True), (NEAR + 1, False)):
        bits = np.unpackbits(one)
        bits[rng.permutation(8 * BYTES)[:flips]] ^= 1
        other = np.packbits(bits)
        assert sum(int(a ^ b).bit_count() for a, b in zip(one, other, strict=True)) == flips
        far = rng.integers(256, size=(50, BYTES), dtype=np.uint8)
        assert Seen(np.vstack([far, other])).knows(one[None]).tolist() == [known]


def test_a_bit_is_the_sign_of_an_exact_sum():
    """In fractions, without a float: so it is the same on every machine."""
    grey = np.asarray(FACES[0].convert("L").resize((16, 16), Image.Resampling.BILINEAR)).tolist()
    steps = [grey[y + 1][x] - grey[y][x] for y in range(15) for x in range(16)]
    steps += [grey[y][x + 1] - grey[y][x] for y in range(16) for x in range(15)]
    most = sum(map(abs, steps))
    lines = [round(Fraction(100 * max(-most, min(most, 960 * step)), most)) for step in steps]
    signs = seen._signs().astype(int).tolist()
    sums = [sum(line * row[bit] for line, row in zip(lines, signs, strict=True))
            for bit in range(8 * BYTES)]  # fmt: skip
    (found,) = np.unpackbits(prints_of(FACES[:1]), axis=1).tolist()
    assert found == [int(total > 0) for total in sums]


def test_the_bits_that_sum_up_are_those_of_every_earlier_version():
    """Files keep fingerprints: other bits are another VERSION."""
    assert seen.VERSION == 1
    assert np.packbits(seen._signs()[:2, :32] > 0).tobytes().hex() == "26d49d09a0f2412e"


def test_fingerprints_of_a_data_set_are_those_of_its_rows(dataset_folder, monkeypatch):
    dataset = open_dataset(dataset_folder)
    monkeypatch.setattr(seen, "_BLOCK", 7)
    rows = dataset.rows("train")
    prints = fingerprints_of(dataset, rows)
    np.testing.assert_array_equal(prints[10], fingerprints(dataset.images[rows[10]][None])[0])
    assert prints.shape == (len(rows), BYTES)
    assert fingerprints_of(dataset, rows[:0]).shape == (0, BYTES)


def test_merged_each_is_there_once_and_order_tells_nothing():
    prints = prints_of(FACES)
    merged = merge(prints[4:], prints[:6])
    assert len(merged) == len(FACES)
    np.testing.assert_array_equal(merged, merge(prints[::-1]))
