"""Out of memory: explained without a budget, met with one."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from agecli.errors import TrainingError
from agecli.training.observer import Observer
from agecli.training.records import Started, Step
from agecli.training.runs import Run
from tests.gpu.trainings import Toys, run_training

pytestmark = pytest.mark.gpu

LARGE = {"image_size": 160, "batch_size": 64, "epochs": 2}
"""A cnn whose steps need 1.4 GB, with --amp and --grad-checkpoint 0.75 GB, with a quarter of the
batch 0.5 GB: weights, gradients, moments and average are 0.27 GB of it."""


@pytest.fixture
def clean(cuda: str) -> Iterator[None]:
    """Begin with an allocator that holds next to nothing, and leave it without a limit."""
    gc.collect()
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


class Limit(Observer):
    """Limits the allocator, which a training without a budget does not, before the first step."""

    def started(self, training: Started) -> None:
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction(800e6 / total)


class Listener(Observer):
    """Keeps the warnings, and the most memory that was in use."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.peak = 0

    def warned(self, text: str) -> None:
        self.warnings.append(text)

    def stepped(self, step: Step) -> None:
        self.peak = max(self.peak, step.memory)


def test_without_a_budget_the_options_that_help_are_named(clean, toys: Toys, tmp_path: Path):
    ways = "--amp, --grad-checkpoint, --batch-size 32 --accumulate 2.*--vram-budget 4GB"
    with pytest.raises(TrainingError, match=ways):
        run_training(toys.config("cnn", **LARGE), tmp_path / "run", Limit())


def test_with_a_budget_half_the_micro_batch_resumes(clean, toys: Toys, tmp_path: Path):
    listener = Listener()
    config = toys.config("cnn", **LARGE, vram_budget="900MB")
    run = run_training(config, tmp_path / "run", listener)
    assert len(run.history()) == config.epochs
    assert listener.warnings
    assert all(text.startswith("out of memory: continuing with") for text in listener.warnings)
    _, kept = Run.open(run.folder)
    assert kept.batch_size < 64 and kept.batch_size * kept.accumulate == 64
    assert 270e6 < listener.peak < 900e6


def test_the_command_plans_and_finishes_inside_a_budget(
    cli, device: str, dataset_folder: Path, tmp_path: Path
):
    """A tenth of the budget is CUDA's own, a fifth spare; cuBLAS has 32 MB and more."""
    size, budget = (128, "350MB") if device == "cuda" else (32, "15MB")
    result = cli(
        "train", "capsnet", "--data", dataset_folder, "--image-size", size, "--epochs", 1,
        "--batch-size", 64, "--vram-budget", budget, "--device", device, "--run", tmp_path / "run",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["batch_size"] * config["accumulate"] == 64
    assert config["amp"] or config["grad_checkpoint"] or config["batch_size"] < 64
    assert ("counted" in result.stderr) == (device == "cpu")
    assert len(Run(tmp_path / "run").history()) == 1
