"""The gate that every export passes."""

from pathlib import Path

import numpy as np
import pytest

from agecli.data.store import open_dataset
from agecli.errors import WeightsError
from agecli.exporting.parity import Parity, calibration_images, check_parity, held_images


def test_drawn_pictures_are_varied_and_the_same_every_time():
    held = held_images(24, None)
    assert held.images.shape == (128, 24, 24, 3) and held.images.dtype == np.uint8
    assert len(np.unique(held.images.reshape(128, -1), axis=0)) == 128
    assert (held_images(24, None).images == held.images).all()


def test_held_images_calibrate_nothing(dataset_folder: Path):
    calibration = calibration_images(32, dataset_folder)
    held = held_images(32, dataset_folder)
    both = np.concatenate([calibration, held.images]).reshape(-1, 32 * 32 * 3)
    assert (
        len(np.unique(both, axis=0))
        == len(both)
        == (open_dataset(dataset_folder).splits == "val").sum()
    )
    assert len(calibration) == -(-len(both) // 4)
    assert held.words == f"{len(held.images)} validation images of {dataset_folder.name}"


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
        check_parity(parity, precision, Path("cnn"))
    else:
        with pytest.raises(WeightsError, match="differs"):
            check_parity(parity, precision, Path("cnn"))
