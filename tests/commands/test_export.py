"""agecli train dinov2 and export, as a user runs them."""

import json
from pathlib import Path

from tests.models.backbones import save_backbone

SMALL = ["--epochs", 2, "--device", "cpu"]


def test_a_head_is_trained_exported_and_answers_offline(cli, dataset_folder, tmp_path: Path):
    backbone = save_backbone(tmp_path / "backbone")
    options = ["--data", dataset_folder, "--backbone", backbone, *SMALL, "--views", 2]
    result = cli("train", "dinov2", *options, "--run", tmp_path / "run", "--json")
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    said = result.stderr.splitlines()
    assert said[0].startswith(("val features", "dinov2:"))
    assert all(
        line.startswith(("val features", "train features", "dinov2:", "epoch", "best epoch"))
        for line in said
    ), result.stderr
    assert (tmp_path / "run" / "best.safetensors").stat().st_size < 60_000
    whole = tmp_path / "whole.safetensors"
    exported = cli("export", tmp_path / "run", whole, "--with-backbone")
    assert exported.returncode == 0 and str(whole) in exported.stdout, exported.stderr
    for file in backbone.iterdir():
        file.unlink()
    scores = cli("evaluate", whole, "--data", dataset_folder, "--json")
    assert scores.returncode == 0, scores.stderr
    assert abs(json.loads(scores.stdout)["exact"] - content["metrics"]["exact"]) < 0.11


def test_a_missing_backbone_is_one_line(cli, one_line, dataset_folder, tmp_path: Path):
    result = cli(
        "train", "dinov2", "--data", dataset_folder, cwd=tmp_path, HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path / "hub"),
    )  # fmt: skip
    line = one_line(result)
    for part in ("facebook/dinov2-small", "HF_HUB_OFFLINE", "--backbone", "model.safetensors"):
        assert part in line
    assert not (tmp_path / "runs").exists()


def test_wrong_usage_of_export_is_one_line(cli, one_line, tmp_path: Path):
    assert "--with-backbone" in one_line(cli("export", "cnn", tmp_path / "x.safetensors"), 2)
    line = one_line(cli("export", "cnn", tmp_path / "x.bin", "--with-backbone"), 2)
    assert "x.bin" in line
    line = one_line(cli("export", "cnn", tmp_path / "x.safetensors", "--with-backbone"), 2)
    assert "inside" in line


def test_a_memory_report_of_the_dinov2(cli, tmp_path: Path):
    backbone = save_backbone(tmp_path / "backbone")
    options = ["--backbone", backbone, "--unfreeze", 2, "--batch-size", 4, "--device", "cpu"]
    result = cli("train", "dinov2", *options, "--memory-report", "--json")
    assert result.returncode == 0, result.stderr
    modes = {mode["mode"]: mode for mode in json.loads(result.stdout)["modes"]}
    assert modes["checkpoint"]["activations"] < modes["plain"]["activations"]
