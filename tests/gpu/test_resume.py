"""Trainings that are stopped and go on, against those that were not.

On a CPU they end with the same bits (tests/training). On CUDA they need not: cuDNN's gradients of
convolutions and torch's of pooling and resizing add up atomically, in an order that is another
each time. What is drawn at random is the same: augmentation on the host, dropout by the seed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agecli.training.observer import Observer
from agecli.training.records import Epoch, Step
from agecli.training.runs import Run
from tests.gpu.trainings import KINDS, Toys, losses, resume, run_training
from tests.launching import ROOT

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::FutureWarning")]


class Stop(Observer):
    """Interrupts a training in the middle of an epoch."""

    def __init__(self, after: int) -> None:
        self.left = after

    def finished_epoch(self, epoch: Epoch) -> None:
        self.left -= 1

    def stepped(self, step: Step) -> None:
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "amp"), [(kind, False) for kind in KINDS] + [("cnn", True), ("resnet", True)]
)
def test_a_resumed_training_has_the_losses_of_a_whole_one(
    kind: str, amp: bool, toys: Toys, tmp_path: Path
):
    config = toys.config(kind, augment="wild", amp=amp)
    whole = run_training(config, tmp_path / "whole")
    stop = Stop(2 + (config.epochs if kind == "unfrozen" else 0))  # its head is trained before
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path / "cut", stop)
    cut = Run(tmp_path / "cut")
    assert len(cut.history()) == 2
    resume(cut)
    assert len(cut.history()) == 3
    np.testing.assert_allclose(losses(cut), losses(whole), rtol=1e-3)


def test_a_killed_training_has_the_losses_of_a_whole_one(
    cli, device: str, dataset_folder: Path, tmp_path: Path
):
    folder = tmp_path / "cut"
    settings = ["--image-size", 32, "--batch-size", 16, "--epochs", 8, "--device", device]
    command = ["train", "cnn", "--data", dataset_folder, *settings, "--run", folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "agecli", *map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while not (folder / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=60)
    cut, config = Run.open(folder)
    assert len(cut.history()) < config.epochs
    result = cli("train", "cnn", "--resume", folder)
    assert result.returncode == 0, result.stderr
    whole = run_training(config, tmp_path / "whole")
    np.testing.assert_allclose(losses(cut), losses(whole), rtol=1e-3)
