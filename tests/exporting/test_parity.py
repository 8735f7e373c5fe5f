"""The gate that every export passes."""

from pathlib import Path

import numpy as np
import pytest

from agecli.errors import DataError, WeightsError
from agecli.exporting.parity import Parity, check, held_images


def test_drawn_pictures_are_varied_and_the_same_every_time():
    held = held_images(24, None)
    assert held.images.shape == (128, 24, 24, 3) and held.images.dtype == np.uint8
    assert len(np.unique(held.images.reshape(128, -1), axis=0)) == 128
    assert (held_images(24, None).images == held.images).all()


def test_held_and_skipped_images_are_apart(dataset_folder: Path):
    calibration = held_images(32, dataset_folder, count=8).images.reshape(8, -1)
    held = held_images(32, dataset_folder, skip=8)
    pixels = held.images.reshape(len(held.images), -1)
    both = np.concatenate([calibration, pixels])
    assert len(np.unique(both, axis=0)) == len(both)
    assert held.words == f"{len(pixels)} validation images of {dataset_folder}"
    with pytest.raises(DataError, match="--data"):
        held_images(32, dataset_folder, skip=10_000)


@pytest.mark.parametrize(
    ("precision", "difference", "same", "passes"),
    [
        ("fp32", 9e-5, 1.0, True),
        ("fp32", 2e-4, 1.0, False),
        ("fp32", 9e-5, 0.998, False),
        ("fp16", 4e-3, 1.0, True),
        ("fp16", 6e-3, 1.0, False),
        ("int8", 0.3, 0.981, True),
        ("int8", 0.3, 0.979, False),
        ("int8", float("nan"), 1.0, False),
    ],
)
def test_the_limits(precision, difference: float, same: float, passes: bool):
    parity = Parity("3 images", difference, same)
    if passes:
        check(parity, precision, Path("cnn"), "do this")
    else:
        with pytest.raises(WeightsError, match="do this"):
            check(parity, precision, Path("cnn"), "do this")
