"""A launcher that starts one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agecli.training.runs import Run
from tests.gpu.trainings import losses, run_training
from tests.launching import ROOT, environment

pytestmark = pytest.mark.gpu


def test_one_process_of_torchrun_trains_as_one_without(
    device: str, dataset_folder: Path, tmp_path: Path
):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "--"]
    settings = ["--image-size", "32", "--batch-size", "16", "--epochs", "2", "--device", device]
    command = [*launcher, "agecli", "train", "cnn", "--data", dataset_folder, *settings, "--json"]
    result = subprocess.run(
        [*map(str, command), "--run", str(tmp_path / "run")], cwd=ROOT, env=environment(),
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["n"] > 0
    run, config = Run.open(tmp_path / "run")
    alone = run_training(config, tmp_path / "alone")
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-3)
