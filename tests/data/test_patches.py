"""The measure of near duplicates: copies as people make them, and what is no copy."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from agecli.data import patches
from agecli.data.images import read_image
from agecli.data.patches import fingerprint, is_copy, outlines, traces
from tests.archives import SPREAD_AGES, draw_face, jpeg_bytes
from tests.data.pictures import clusters_of, near_pairs, textured

FACES = [draw_face(age, seed=age, size=200) for age in SPREAD_AGES[:6]]


def _cropped(left, top, right, bottom):
    return lambda image: image.crop((left, top, 200 - right, 200 - bottom))


def _written_on(image):
    image = image.copy()
    ImageDraw.Draw(image).rectangle((0, 180, 200, 200), fill="black")
    return image


COPIES = {
    "grey": lambda image: image.convert("L").convert("RGB"),
    "sepia": lambda image: ImageOps.colorize(image.convert("L"), (40, 20, 5), (255, 240, 200)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "gamma": lambda image: image.point([round(255 * (i / 255) ** 0.7) for i in range(256)] * 3),
    "cropped": _cropped(5, 5, 5, 5),
    "cropped on one side": _cropped(8, 0, 0, 0),
    "cropped grey and darker": lambda image: _cropped(5, 5, 5, 5)(
        ImageEnhance.Brightness(image.convert("L")).enhance(0.8).convert("RGB")
    ),
    "recompressed": lambda image: read_image(jpeg_bytes(image)),
    "smaller": lambda image: image.resize((50, 50)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "turned": lambda image: image.rotate(2, Image.Resampling.BILINEAR),
    "written on": _written_on,
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_as_people_make_them_is_the_same_picture(change):
    copies = [change(face) for face in FACES]
    assert clusters_of(FACES + copies, patches) == [0, 1, 2, 3, 4, 5] * 2


def test_one_face_before_other_walls_makes_other_pictures():
    """Only what surrounds the face differs, as from one photograph to the next."""
    assert clusters_of([draw_face(30, seed=seed) for seed in range(20)], patches) == list(range(20))


def test_outlines_know_neither_strength_nor_brightness():
    prints = np.random.default_rng(0).integers(40, 100, size=(50, 16, 16)).astype(np.uint8)
    assert (outlines(prints) == outlines(2 * prints)).all()
    assert (outlines(prints) == outlines(prints + 55)).all()
    assert (outlines(prints) == -outlines(255 - prints)).all()
    assert np.abs(outlines(prints)).max(axis=1).tolist() == [100] * 50


def test_a_picture_of_one_colour_has_no_outlines():
    flat = np.full((2, 16, 16), 77, np.uint8)
    assert not outlines(flat).any()
    assert near_pairs(traces(flat), patches) == []


def _correlate(a, b):
    """Decide whether a·b ≥ 0.76 |a||b|, in whole numbers."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product > 0 and 100**2 * product**2 >= 76**2 * sum(x * x for x in a) * sum(
        y * y for y in b
    )


@pytest.fixture
def torch_restored():
    """Undo what a worker sets for the whole of its process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("torch_restored")
@pytest.mark.parametrize(("block", "many"), [(4096, 2**18), (7, 2**18), (7, 0)])
def test_near_pairs_are_those_of_a_full_comparison(block, many, monkeypatch):
    """Against exact fractions, in Python's whole numbers; of many pictures, multiplied by torch."""
    monkeypatch.setattr(patches, "_MANY", many)
    monkeypatch.setattr(patches, "_PART", block)
    monkeypatch.setattr(patches, "_BLOCK", block // 2)
    weights = np.random.default_rng(3).uniform(0, 0.8, size=60)
    pictures = [
        Image.blend(textured(number % 6), textured(number + 6), weight)
        for number, weight in enumerate(weights)
    ]
    prints = np.array([fingerprint(picture) for picture in pictures])
    lines = outlines(prints).astype(int).tolist()
    expected = [
        [i, j] for i in range(60) for j in range(i + 1, 60) if _correlate(lines[i], lines[j])
    ]
    assert 50 < len(expected) < 60 * 59 / 2 / 3
    assert near_pairs(traces(prints), patches) == expected


def test_products_are_whole_numbers_whatever_their_order():
    """Sums in float32 agree with those in whole numbers and with those of shuffled columns."""
    prints = np.random.default_rng(1).integers(256, size=(300, 16, 16)).astype(np.uint8)
    lines = outlines(prints)
    whole = lines.astype(np.int64) @ lines.astype(np.int64).T
    order = np.random.default_rng(2).permutation(lines.shape[1])
    for columns in (lines, lines[:, order]):
        floats = columns.astype(np.float32)
        assert ((floats @ floats.T) == whole).all()


@pytest.mark.usefixtures("torch_restored")
def test_sums_of_any_picture_are_multiplied_exactly():
    """Also of one with a single edge, all of whose length lies in one sum, and in bfloat16."""
    prints = np.random.default_rng(1).integers(256, size=(600, 16, 16)).astype(np.uint8)
    prints[:8] = 0
    prints[range(8), range(8), range(8)] = 255
    sums = traces(prints)["sums"].astype(np.float32)
    assert np.abs(sums).max() > 64
    products = sums.astype(np.int64) @ sums.astype(np.int64).T
    assert (patches._multiply(sums, sums.T) == products).all()


def _correlation(a, b):
    """Search for the patches one position at a time, by NumPy's correlation coefficient."""
    fine = []
    for picture in (a, b):
        grey = picture.resize((48, 48), Image.Resampling.BOX, reducing_gap=2).convert("L")
        padded = np.pad(np.asarray(grey, dtype=float), 2, mode="edge")
        mean = sum(padded[y : y + 48, x : x + 48] for y in range(5) for x in range(5)) / 25
        fine.append(padded[2:-2, 2:-2] - mean)
    best = []
    for y in (4, 16, 29):
        for x in (4, 16, 29):
            patch = fine[0][y : y + 15, x : x + 15]
            places = [
                fine[1][y + dy : y + dy + 15, x + dx : x + dx + 15]
                for dy in range(-4, 5)
                for dx in range(-4, 5)
            ]
            norm = np.linalg.norm
            best.append(max((patch * p).sum() / (norm(patch) * norm(p)) for p in places))
    return np.mean(best)


def test_the_mean_correlation_of_the_patches_decides(monkeypatch):
    monkeypatch.setattr(patches.dhash, "is_copy", lambda a, b: False)
    blurred = [FACES[0].filter(ImageFilter.GaussianBlur(width)) for width in range(0, 24, 2)]
    others = blurred + FACES[1:]
    likeness = [_correlation(FACES[0], other) for other in others]
    answers = [is_copy(np.asarray(FACES[0]), np.asarray(other)) for other in others]
    assert min(abs(value - patches.LIKE) for value in likeness) > 0.002
    assert answers == [bool(value >= patches.LIKE) for value in likeness]
    assert 2 < sum(answers) < len(answers) - 4


def test_a_dark_picture_and_its_copy_differ_little_in_all_pixels():
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 12, size=(96, 96, 3), dtype=np.uint8)
    other = rng.integers(0, 12, size=(96, 96, 3), dtype=np.uint8)
    assert is_copy(dark, other)
    assert not is_copy(dark, other * 10)


def test_a_fingerprint_is_the_mean_grey_of_each_cell():
    cells = np.random.default_rng(0).integers(256, size=(16, 16), dtype=np.uint8)
    picture = Image.fromarray(cells.repeat(10, 0).repeat(10, 1)).convert("RGB")
    assert (fingerprint(picture) == cells).all()
