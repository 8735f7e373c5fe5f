"""Features of a frozen backbone, cached on the device, against the CPU's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from agecli.config import Dinov2Config
from agecli.data.augment import Draw
from agecli.data.store import open_dataset
from agecli.models.dinov2 import Dinov2, backbone_state, describe_backbone
from agecli.training.features import cache_features, read_features
from tests.gpu.trainings import Toys

pytestmark = pytest.mark.gpu


def cached(toys: Toys, place: str, folder: Path, view: int = 0, **settings) -> Tensor:
    """Compute the training images' features on a device, into a cache of their own."""
    config = toys.config("unfrozen", device=place, **settings)
    assert isinstance(config, Dinov2Config)
    model = Dinov2(outputs=3, backbone=describe_backbone(config.backbone, "", 0, 0.0))
    model.load_state_dict(model.state_dict() | backbone_state(config.backbone, ""))
    dataset = replace(open_dataset(toys.dataset), folder=folder / place)
    dataset.folder.mkdir()
    rows = dataset.rows("train")
    path = cache_features(model.to(place), dataset, rows, config, torch.device(place), view)
    return read_features(path)


def error(found: Tensor, expected: Tensor) -> Tensor:
    """Return the length of each image's error, as a share of its features' length: (N,)."""
    assert found.device.type == expected.device.type == "cpu"
    return (found - expected).norm(dim=1) / expected.norm(dim=1)


def test_in_fp32_they_are_the_cpus(exact, unrounded, toys: Toys, tmp_path: Path):
    found = cached(toys, toys.device, tmp_path)
    (tmp_path / toys.device).rename(tmp_path / "kept")
    assert error(found, cached(toys, "cpu", tmp_path)).max() < 1e-4


def test_in_bf16_they_are_the_cpus_of_fp32(unrounded, toys: Toys, tmp_path: Path):
    found = cached(toys, toys.device, tmp_path, amp=True)
    (tmp_path / toys.device).rename(tmp_path / "kept")
    share = error(found, cached(toys, "cpu", tmp_path))
    assert 0 < share.mean() < 1e-2


@pytest.mark.parametrize("augment", ["light", "wild"])
def test_a_view_is_the_cpus(
    augment: str, exact, unrounded, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The device draws nothing but the noise of erased rectangles, which is left out here."""
    monkeypatch.setattr(
        Draw, "noise",
        lambda self, low, high, *shape: torch.full((self.count, *shape), high, device=self.device),
    )  # fmt: skip
    found = cached(toys, toys.device, tmp_path, view=1, augment=augment)
    (tmp_path / toys.device).rename(tmp_path / "kept")
    share = error(found, cached(toys, "cpu", tmp_path, view=1, augment=augment))
    plain = cached(toys, "cpu", tmp_path / "kept")
    assert error(plain, found).median() > 0.02  # it is another view
    assert share.median() < 1e-3
    assert share.max() < (1e-3 if augment == "light" else 0.1)  # JPEG rounds a tie either way
