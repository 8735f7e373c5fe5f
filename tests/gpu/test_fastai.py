"""fastai's own: the search for a rate, the head first, then all layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agecli.training.observer import Observer
from agecli.training.records import Epoch
from agecli.training.runs import Run
from tests.gpu.trainings import Toys, run_training

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::FutureWarning")]


class Bodies(Observer):
    """Keeps a weight of the body after each epoch, and what was said."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.weights: list[torch.Tensor] = []
        self.warnings: list[str] = []

    def finished_epoch(self, epoch: Epoch) -> None:
        self.weights.append(self.run.load()["model"]["body.conv1.weight"])

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def test_a_rate_is_found_and_the_head_trained_first(toys: Toys, tmp_path: Path):
    from torchvision.models import resnet

    torch.manual_seed(3)
    body = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1]).state_dict()
    torch.save(body, tmp_path / "resnet18.pth")
    init = str(tmp_path / "resnet18.pth")
    config = toys.config("resnet", init=init, lr=0, freeze_epochs=1, epochs=2, amp=True)
    bodies = Bodies(Run(tmp_path / "run"))
    run = run_training(config, tmp_path / "run", bodies)
    assert [epoch.phase for epoch in run.history()] == ["head", "all", "all"]
    first, second, third = bodies.weights
    assert torch.equal(first, body["conv1.weight"])
    assert not torch.equal(first, second) and not torch.equal(second, third)
    _, kept = Run.open(run.folder)
    assert 1e-6 < kept.lr < 1
    assert bodies.warnings[0].startswith("--lr auto")
    assert (run.folder / "lr_find.png").is_file()
