"""agecli train aligner as a user runs it, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Cli


def test_it_trains_shows_its_figures_and_resumes(
    cli: Cli, one_line, dataset_folder: Path, tmp_path: Path
):
    run = tmp_path / "run"
    command = ["train", "aligner", "--data", dataset_folder, "--device", "cpu"]
    result = cli(*command, "--epochs", 1, "--limit", 16, "--batch-size", 8, "--run", run)
    assert result.returncode == 0, result.stderr
    assert "tilt" in result.stdout
    assert "AUC" in result.stdout
    assert "epoch 1" in result.stderr
    again = cli("train", "aligner", "--resume", run, "--json")
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert said["weights"] == str(run / "best.safetensors")
    assert {"placed", "worsened", "auc", "n"} <= set(said["metrics"])
    assert {"angle", "scale95", "shift"} <= set(said["metrics"]["worsened"])
    used = one_line(cli(*command, "--run", run))
    assert "--resume" in used
    other = one_line(cli("train", "cnn", "--resume", run), code=2)
    assert "agecli train aligner --resume" in other
    kept = one_line(cli("train", "aligner", "--resume", run, "--lr", 1), code=2)
    assert "--lr" in kept
    ages = one_line(cli("evaluate", run, "--data", dataset_folder))
    assert "is the aligner" in ages
