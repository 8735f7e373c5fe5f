"""The device that these tests run on, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.gpu.trainings import Toys
from tests.models.backbones import save_backbone


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Return the device of --device, or skip where it is not here."""
    name = request.config.getoption("--device")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device; --device cpu runs these on the CPU")
    return name


@pytest.fixture
def cuda(device: str) -> str:
    """Skip what a CPU has not: memory that runs out at a limit, a queue that is waited for."""
    if device != "cuda":
        pytest.skip("for CUDA alone")
    return device


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """Reduce resnet18 to one block per stage: half the weights, and half the time."""
    from agecli.models.resnet import ARCHS, BasicBlock

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, "resnet18", (BasicBlock, 64, ((1,), (2,), (2,), (2,))))
        yield


@pytest.fixture
def exact() -> Iterator[None]:
    """Make a GPU multiply fp32 as fp32: its convolutions take TF32, of 10 bits, by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the CPU resize floats like a GPU: bytes, which it can, it rounds on the way."""
    from agecli.data import batches

    resize = batches.resize
    monkeypatch.setattr(batches, "resize", lambda images, size: resize(images.float(), size))


@pytest.fixture(scope="session")
def backbone(device: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small random DINOv2, saved like those of the hub."""
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def toys(
    device: str, shallow: None, backbone: Path, dataset_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Toys:  # fmt: skip
    """Return toy trainings on the device."""
    return Toys(device, dataset_folder, backbone, tmp_path_factory.mktemp("toys"))
