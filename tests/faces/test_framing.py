"""Recognise images framed like UTKFace's chips, by the shipped portrait."""

from pathlib import Path

import pytest
from PIL import Image

from agecli.faces import crop_largest, detect
from agecli.faces.framing import FARTHEST, distance_from_chip, judge

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(PORTRAIT).convert("RGB")


@pytest.fixture(scope="module")
def chip(portrait):
    return crop_largest(portrait)


@pytest.mark.parametrize("size", [64, 100, 200, 400])
def test_a_chip_of_any_size_is_near(chip, size):
    assert distance_from_chip(chip.resize((size, size))) < FARTHEST


def test_of_a_wide_picture_its_centred_square_counts(chip):
    wide = Image.new("RGB", (chip.width * 2, chip.height), "grey")
    wide.paste(chip, (chip.width // 2, 0))
    assert distance_from_chip(wide) == pytest.approx(distance_from_chip(chip), abs=3)


def test_other_frames_are_far(portrait, chip):
    (face,) = detect(portrait)
    assert distance_from_chip(portrait) > FARTHEST
    assert distance_from_chip(portrait.crop(face.box)) > FARTHEST  # narrower
    assert distance_from_chip(chip.rotate(30)) > FARTHEST


def test_the_median_of_those_that_are_seen_decides(portrait, chip):
    empty = Image.new("RGB", (64, 64))
    verdict = judge(iter([chip, chip, chip, portrait, portrait, empty]))
    assert not verdict.crop
    assert "median of 5" in verdict.why
    assert judge(iter([chip, portrait, portrait])).crop


def test_where_few_faces_are_seen_pictures_stay_as_they_are(portrait):
    empty = Image.new("RGB", (64, 64))
    assert judge(iter([portrait, empty, empty])) == (False, "a face is detected in 1 of 3 of them")
    assert not judge(iter([])).crop
