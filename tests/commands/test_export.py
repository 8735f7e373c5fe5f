"""agecli export, and train dinov2, as a user runs them."""

import json
from pathlib import Path

from tests.models.backbones import save_backbone

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
SMALL = ["--epochs", 2, "--device", "cpu"]


def test_a_head_is_trained_exported_and_predicts_offline(cli, dataset_folder, tmp_path: Path):
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


def test_onnx_from_the_command_line_predicts_like_its_weights(
    cli, dataset_folder, toy_onnx, tmp_path: Path
):
    source, out = toy_onnx.with_name("cnn.safetensors"), tmp_path / "cnn.onnx"
    result = cli("export", source, out, "--data", dataset_folder, "--card")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert result.stdout.startswith(f"{out} (") and "validation images of" in result.stdout
    card = (tmp_path / "cnn.md").read_text()
    assert card.startswith("---\n") and "\nlicense: " in card
    scores = [
        json.loads(cli("evaluate", path, "--data", dataset_folder, "--json", "--force").stdout)
        for path in (source, out)
    ]
    assert scores[0]["exact"] == scores[1]["exact"]
    assert abs(scores[0]["mae"] - scores[1]["mae"]) < 1e-3


def test_a_hub_folder_from_the_command_line(cli, toy_onnx, tmp_path: Path):
    source, folder = toy_onnx.with_name("cnn.safetensors"), tmp_path / "hub"
    result = cli("export", source, "--hub-folder", folder)
    assert result.returncode == 0 and "model.safetensors" in result.stdout, result.stderr
    rows = cli("predict", PORTRAIT, "--weights", folder, "--model", "all", "--json")
    plain = cli("predict", PORTRAIT, "--weights", source, "--json")
    assert rows.stdout == plain.stdout != ""


def test_wrong_usage_of_export_is_one_line(cli, one_line, tmp_path: Path):
    def line(*arguments: object) -> str:
        return one_line(cli("export", "cnn", *arguments), 2)

    assert "--hub-folder" in line()
    assert "x.bin does not end in .safetensors, .onnx, .pt2" in line(tmp_path / "x.bin")
    assert "not a .onnx file" in line(tmp_path / "x.pt2", "--to", "onnx")
    assert "--to" in line(tmp_path / "x.pt2", "--to", "torchscript")
    assert "already contains" in line(tmp_path / "x.safetensors", "--with-backbone")
    assert "--data" in line(tmp_path / "x.onnx", "--int8")
    assert not list(tmp_path.iterdir())


def test_a_memory_report_of_the_dinov2(cli, tmp_path: Path):
    backbone = save_backbone(tmp_path / "backbone")
    options = ["--backbone", backbone, "--unfreeze", 2, "--batch-size", 4, "--device", "cpu"]
    result = cli("train", "dinov2", *options, "--memory-report", "--json")
    assert result.returncode == 0, result.stderr
    modes = {mode["mode"]: mode for mode in json.loads(result.stdout)["modes"]}
    assert modes["checkpoint"]["activations"] < modes["plain"]["activations"]


def test_an_index_is_written_into_the_folder(cli, one_line, toy_onnx, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    weights = folder / "cnn.safetensors"
    weights.write_bytes(toy_onnx.with_name("cnn.safetensors").read_bytes())
    (folder / "README.md").write_text("my own")
    assert "--index" in one_line(cli("export", folder, "--index"), 2)
    assert (folder / "README.md").read_text() == "my own"
    (folder / "README.md").write_text("# Weights\n\nMade by `agecli export mine --index`.")
    result = cli("export", folder, "--index")
    assert result.returncode == 0 and result.stdout == f"{folder / 'README.md'}\n", result.stderr
    text = (folder / "README.md").read_text()
    assert "`cnn.safetensors`" in text and "export mine --index" in text
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "cnn.safetensors"]
    assert "--index" in one_line(cli("export", weights, "--index"), code=2)
