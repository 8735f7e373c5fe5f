"""agecli train resnet, as a user runs it."""

import json

import pytest
import torch
from PIL import Image

from agecli.weights import read_metadata

SMALL = [
    "--arch", "resnet18", "--image-size", 32, "--batch-size", 16, "--epochs", 1, "--limit", 32,
    "--device", "cpu",
]  # fmt: skip
REFUSED = "http://127.0.0.1:9"


@pytest.fixture
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment without ImageNet weights and without a network."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), REFUSED)
    cache = str(tmp_path_factory.mktemp("torch"))
    return proxies | {"no_proxy": "", "NO_PROXY": "", "TORCH_HOME": cache}


def test_a_training_from_scratch_prints_the_test_figures_and_only_our_lines(
    cli, dataset_folder, tmp_path, offline
):
    options = [*SMALL, "--init", "none", "--freeze-epochs", 1]
    result = cli("train", "resnet", "--data", dataset_folder, *options, cwd=tmp_path, **offline)
    assert result.returncode == 0, result.stderr
    assert "resnet on the test split" in result.stdout
    assert "val loss" not in result.stdout  # progress goes to stderr
    weights = tmp_path / "runs" / "resnet" / "best.safetensors"
    figures = read_metadata(weights).metrics
    assert f"{figures['exact']:.1%}" in result.stdout
    starts = [line.split(",")[0].split(":")[0] for line in result.stderr.splitlines()]
    assert starts[:3] == ["resnet", "epoch 1", "epoch 2"], result.stderr
    assert starts[3].startswith("best epoch")
    assert "".join(result.stderr.splitlines()[3:]).endswith("best.safetensors")  # may be wrapped
    assert "\r" not in result.stderr and "Warning" not in result.stderr
    config = json.loads((tmp_path / "runs" / "resnet" / "config.json").read_text())
    assert (config["init"], config["freeze_epochs"], config["lr"]) == ("none", 1, 2e-3)


@pytest.mark.slow
def test_a_rate_is_found_and_said_and_json_names_it(cli, dataset_folder, tmp_path):
    options = ["--init", "none", "--lr", "auto", "--batch-size", 2, "--run", tmp_path / "run"]
    command = ["train", "resnet", "--data", dataset_folder, *SMALL, *options, "--json"]
    result = cli(*command)
    assert result.returncode == 0, result.stderr
    rate = json.loads(result.stdout)["training"]["lr"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["lr"] == rate > 0
    with Image.open(tmp_path / "run" / "lr_find.png") as image:
        assert image.format == "PNG"
    said, *others = result.stderr.splitlines()
    assert said.startswith(f"agecli: --lr auto: {rate:.1e}")
    assert [line.split(":")[0].split(",")[0] for line in others] == ["resnet", "epoch 1"]
    assert "\r" not in result.stderr and "Warning" not in result.stderr


def test_a_rate_that_is_not_a_number_is_one_line(cli, one_line, dataset_folder, tmp_path):
    for value in ("x", "nan"):
        arguments = ["train", "resnet", "--data", dataset_folder, *SMALL, "--lr", value]
        assert "--lr" in one_line(cli(*arguments, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


def test_imagenet_weights_that_cannot_be_had_are_one_line_and_make_no_run(
    cli, one_line, dataset_folder, tmp_path, offline
):
    arguments = ["train", "resnet", "--data", dataset_folder, *SMALL]
    line = one_line(cli(*arguments, cwd=tmp_path, **offline))
    assert "resnet18-" in line and "cannot be reached" in line
    assert "--init PATH" in line and "--init none" in line
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_arch_are_one_line_and_make_no_run(
    cli, one_line, dataset_folder, tmp_path
):
    from agecli.models.resnet import Body

    given = tmp_path / "given.pth"
    torch.save(Body("resnet34").state_dict(), given)
    arguments = ["train", "resnet", "--data", dataset_folder, *SMALL, "--init", given]
    line = one_line(cli(*arguments, cwd=tmp_path))
    assert "--init" in line and "--arch" in line and str(given) in line
    assert list(tmp_path.iterdir()) == [given]


def test_a_memory_report_needs_neither_data_nor_weights(cli, tmp_path, offline):
    options = [*SMALL[:4], "--batch-size", 2, "--device", "cpu", "--memory-report", "--json"]
    result = cli("train", "resnet", *options, cwd=tmp_path, **offline)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    modes = json.loads(result.stdout)["modes"]
    assert [mode["mode"] for mode in modes] == ["plain", "AMP", "checkpoint", "both"]
    assert modes[2]["activations"] < modes[0]["activations"] < modes[0]["peak"]
    assert list(tmp_path.iterdir()) == []


def test_a_budget_below_the_weights_is_one_line_and_makes_no_run(
    cli, one_line, dataset_folder, tmp_path
):
    options = [*SMALL, "--init", "none", "--vram-budget", "250MB"]
    line = one_line(cli("train", "resnet", "--data", dataset_folder, *options, cwd=tmp_path))
    assert "--vram-budget 250MB" in line and "body.layer4" in line
    assert list(tmp_path.iterdir()) == []


def test_a_budget_says_what_it_chose_and_trains_with_it(cli, dataset_folder, tmp_path):
    options = [*SMALL, "--init", "none", "--vram-budget", "300MB", "--run", tmp_path / "run"]
    result = cli("train", "resnet", "--data", dataset_folder, *options)
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    said = result.stderr.splitlines()[0]
    assert config["batch_size"] * config["accumulate"] == 16
    assert config["grad_checkpoint"] or config["amp"] or config["batch_size"] < 16
    assert f"--batch-size {config['batch_size']} --accumulate {config['accumulate']}" in said
    assert (tmp_path / "run" / "best.safetensors").is_file()
