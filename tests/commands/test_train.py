"""agecli train cnn and capsnet, as a user runs them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agecli.config import CONFIGS, CnnConfig
from agecli.training.runs import Run
from agecli.weights import read_metadata

SMALL = ["--image-size", 16, "--batch-size", 16, "--epochs", 2, "--device", "cpu"]


def count_test_images(folder: Path) -> int:
    counts = json.loads((folder / "receipt.json").read_text())["counts"]
    return sum(by_split["test"] for group, by_split in counts.items() if group != "gap")


def test_a_training_fills_its_run_and_prints_the_test_figures(cli, dataset_folder, tmp_path):
    result = cli("train", "cnn", "--data", dataset_folder, *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "cnn" / "best.safetensors").is_file()
    assert "cnn on the test split" in result.stdout
    assert f" {count_test_images(dataset_folder)} " in result.stdout
    assert "val loss" not in result.stdout  # progress goes to stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("epoch")]) == 2


def test_json_gives_scripts_the_same_figures(cli, dataset_folder, tmp_path):
    result = cli("train", "cnn", "--data", dataset_folder, *SMALL, "--json", cwd=tmp_path)
    content = json.loads(result.stdout)
    assert content["metrics"]["n"] == count_test_images(dataset_folder)
    assert read_metadata(tmp_path / content["weights"]).metrics == content["metrics"]


def test_an_unprepared_data_set_is_one_line_and_makes_no_run(cli, one_line, tmp_path):
    line = one_line(cli("train", "cnn", cwd=tmp_path))
    assert "agecli prepare" in line
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_in_use_is_one_line(cli, one_line, dataset_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    arguments = ["train", "cnn", "--data", dataset_folder, *SMALL, "--run", tmp_path / "run"]
    assert "choose another --run" in one_line(cli(*arguments))


def test_resume_takes_no_other_settings(cli, one_line, tmp_path):
    line = one_line(cli("train", "cnn", "--resume", tmp_path, "--lr", "0.1"), 2)
    assert "--lr" in line


def test_another_models_run_is_one_line_with_the_command_to_type(cli, one_line, tmp_path):
    Run.create(tmp_path / "run", CnnConfig())
    line = one_line(cli("train", "capsnet", "--resume", tmp_path / "run"), 2)
    assert f"agecli train cnn --resume {tmp_path / 'run'}" in line


def test_resuming_what_is_not_a_run_is_one_line(cli, one_line, tmp_path):
    assert "No run in" in one_line(cli("train", "cnn", "--resume", tmp_path / "none"))


CAPSNET = ["--image-size", 32, "--batch-size", 16, "--epochs", 1, "--device", "cpu"]


def test_a_capsnet_is_trained_and_predicts(cli, dataset_folder, tmp_path):
    options = [*CAPSNET, "--stem", "strided", "--routing-iters", 2, "--reconstruction"]
    result = cli("train", "capsnet", "--data", dataset_folder, *options, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    weights = tmp_path / content["weights"]
    metadata = read_metadata(weights)
    assert metadata.architecture["routing_iters"] == 2
    assert metadata.objective == "margin"
    scores = cli("evaluate", weights, "--data", dataset_folder, "--json")
    assert json.loads(scores.stdout)["exact"] == content["metrics"]["exact"]


def test_a_budget_says_what_it_chose_and_trains_with_it(cli, dataset_folder, tmp_path):
    options = [*CAPSNET, "--vram-budget", "15MB", "--run", tmp_path / "run"]
    result = cli("train", "capsnet", "--data", dataset_folder, *options)
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()[0]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["vram_budget"] == "15MB"
    assert config["batch_size"] * config["accumulate"] == 16
    assert config["grad_checkpoint"] or config["amp"] or config["batch_size"] < 16
    assert f"--batch-size {config['batch_size']} --accumulate {config['accumulate']}" in said
    assert ("--grad-checkpoint" in said) == config["grad_checkpoint"]
    assert "counted" in said


def test_a_budget_that_nothing_fits_is_one_line_and_makes_no_run(
    cli, one_line, dataset_folder, tmp_path
):
    options = [*CAPSNET, "--vram-budget", "1MB"]
    line = one_line(cli("train", "capsnet", "--data", dataset_folder, *options, cwd=tmp_path))
    assert "--vram-budget 1MB" in line and "--image-size" in line
    assert list(tmp_path.iterdir()) == []


def test_a_budget_plans_for_no_more_images_than_there_are(cli, dataset_folder, tmp_path):
    options = [*CAPSNET, "--limit", 8, "--vram-budget", "4GB", "--run", tmp_path / "run"]
    assert cli("train", "capsnet", "--data", dataset_folder, *options).returncode == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["batch_size"], config["accumulate"]) == (8, 1)


def test_a_wide_memory_report_keeps_its_numbers():
    from io import StringIO

    from rich.console import Console

    from agecli.commands._memory import _table
    from agecli.training.memory_plan.budget import Surveyed
    from agecli.training.memory_plan.footprint import Footprint

    config = CONFIGS["capsnet"]()
    large = Surveyed(config, Footprint(*[19_900_000_000] * 6), 1234.5)
    half = Surveyed(config, Footprint(*[9_900_000_000] * 6), None)
    console = Console(file=StringIO(), width=80)
    console.print(_table(config, "cpu", [large, half, Surveyed(config, None, None)]))
    text = console.file.getvalue()
    assert "…" not in text and "9.90 GB -50%" in text and "too large" in text


@pytest.mark.parametrize("model", ["cnn", "capsnet"])
def test_a_memory_report_needs_no_data_and_trains_nothing(cli, tmp_path, model):
    options = ["--memory-report", "--image-size", 32, "--batch-size", 2, "--device", "cpu"]
    result = cli("train", model, *options, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert [mode["mode"] for mode in report["modes"]] == ["plain", "AMP", "checkpoint", "both"]
    plain, *_, both = report["modes"]
    assert both["activations"] < plain["activations"] < plain["peak"]
    assert all(mode["images_per_second"] > 0 for mode in report["modes"])
    Run.create(tmp_path / "run", CONFIGS[model](image_size=32, batch_size=2, device="cpu"))
    again = cli("train", model, "--resume", tmp_path / "run", "--memory-report", "--json")
    assert json.loads(again.stdout)["modes"][0]["peak"] == plain["peak"]
    table = cli("train", model, *options, cwd=tmp_path, COLUMNS="80").stdout
    assert "…" not in table and model in table
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_resumes_to_the_same_bits(cli, dataset_folder, tmp_path, kill):
    settings = [*SMALL[:-4], "--epochs", 6, "--device", "cpu"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = ["train", "cnn", "--data", dataset_folder, *settings, "--run"]
    assert cli(*command, whole).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "agecli", *map(str, command), str(cut)],
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    while not (cut / "last" / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(kill)
    _, errors = process.communicate(timeout=300)
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in errors
        assert "Traceback" not in errors
    assert len(Run(cut).load()["history"]) < 6
    assert cli("train", "cnn", "--resume", cut).returncode == 0
    from safetensors.torch import load_file

    expected, actual = (load_file(run / "best.safetensors") for run in (whole, cut))
    assert all((expected[name] == actual[name]).all() for name in expected)
