"""agecli tune: the search as a user runs it."""

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent.parent
SMALL = ("--epochs", 2, "--image-size", 16)


@pytest.fixture(scope="module")
def tuned(cli, dataset_folder: Path, tmp_path_factory):
    """Search three trials with two workers; give the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("tune")
    result = cli("tune", "cnn", "--data", dataset_folder, *SMALL, "--trials", 3, "--workers", 2,
                 "--pruner", "none", "--json", cwd=folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return folder, result


def test_the_best_of_the_trials_is_reported(tuned):
    folder, result = tuned
    summary = json.loads(result.stdout)
    assert summary["trials"] == {"complete": 3, "pruned": 0, "failed": 0}
    values = [trial["value"] for trial in summary["top"]]
    assert len(values) == 3
    assert summary["best"]["value"] == max(values) == values[0]
    assert summary["defaults"]["trial"] == 0
    assert result.stderr.count("complete") == 3
    for name in summary["files"]:
        data = (folder / name).read_bytes()
        assert data.startswith(b"\x89PNG" if name.endswith("png") else b"<!doctype html>")
    page = (folder / "studies/cnn/report.html").read_text()
    assert page.count("data:image/png;base64,") == len(summary["files"]) - 1
    assert "http" not in page  # self-contained


def test_a_trial_keeps_what_repeats_it_and_never_saw_the_test_split(tuned):
    folder, result = tuned
    best = json.loads(result.stdout)["best"]
    trial = folder / "studies/cnn/trials" / f"{best['trial']:04}"
    assert sorted(p.name for p in trial.iterdir()) == ["config.json", "log.txt", "metrics.jsonl"]
    config = json.loads((trial / "config.json").read_text())
    assert {name: config[name] for name in best["settings"]} == best["settings"]
    records = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
    assert len(records) == config["epochs"] == 2
    assert config["workers"] == 1  # the search's --workers are none of a training's
    kept = [record for record in records if record["best"]][-1]
    assert kept["val_exact"] == best["value"]
    assert "done" not in (trial / "log.txt").read_text()  # the line that has the test's figures


def test_train_resumes_from_the_study(cli, tuned):
    folder, result = tuned
    best = json.loads(result.stdout)["best"]["settings"]
    settings = tomllib.loads((folder / "studies/cnn/best.toml").read_text())
    assert best.items() <= settings.items()
    assert "epochs" not in settings  # a trial's budget is none of the training's
    arguments = ("train", "cnn", "--from-study", "studies/cnn", "--lr", 0.5, "--epochs", 1)
    shown = cli(*arguments, "--show-config", "--json", cwd=folder)
    rows = json.loads(shown.stdout)
    assert rows["lr"] == {"value": 0.5, "source": "command line"}
    assert rows["dropout"] == {"value": best["dropout"], "source": "studies/cnn/best.toml"}
    assert rows["patience"] == {"value": 0, "source": "default"}
    assert cli(*arguments, cwd=folder).returncode == 0
    config = json.loads((folder / "runs/cnn/config.json").read_text())
    assert config | best | {"lr": 0.5, "epochs": 1, "image_size": 16} == config


def test_the_same_command_resumes_and_another_one_is_refused(cli, one_line, tuned):
    folder, _ = tuned
    more = cli("tune", "cnn", "--trials", 4, "--json", cwd=folder)
    assert json.loads(more.stdout)["trials"]["complete"] == 4
    assert more.stderr.count("complete") == 1
    other = cli("tune", "cnn", "--image-size", 32, cwd=folder)
    assert "started with --image-size 16, not 32" in one_line(other, 2)
    assert "searches --lr" in one_line(cli("tune", "cnn", "--lr", 0.1, cwd=folder), 2)
    wrong = cli("tune", "capsnet", "--study", "studies/cnn", cwd=folder)
    assert "study of the cnn" in one_line(wrong, 2)
    assert "is for cnn" in one_line(
        cli("train", "resnet", "--from-study", "studies/cnn", cwd=folder), 2
    )


def test_a_killed_worker_is_replaced_and_a_killed_search_resumes(
    dataset_folder: Path, cli, tmp_path: Path
):
    arguments = ["tune", "cnn", "--data", dataset_folder, "--epochs", 60,
                 "--image-size", 16, "--trials", 1, "--pruner", "none"]  # fmt: skip
    command = [sys.executable, "-m", "agecli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    metrics = tmp_path / "studies/cnn/trials/0000/metrics.jsonl"

    def epochs() -> int:
        return metrics.read_text().count("\n") if metrics.exists() else 0

    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as p:

        def wait_for(more: int) -> None:
            aim = epochs() + more
            while epochs() < aim:
                assert p.poll() is None
                time.sleep(0.02)

        wait_for(3)
        (worker,) = psutil.Process(p.pid).children()
        worker.kill()
        wait_for(3)  # another one continues the trial
        p.kill()
    time.sleep(1)  # its worker ends with it
    done = metrics.read_text()
    time.sleep(1)
    assert metrics.read_text() == done
    result = cli(*arguments, "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["trials"]["complete"] == 1
    assert metrics.read_text().startswith(done)
    assert epochs() == 60
    logged = (tmp_path / "studies/cnn/trials/0000/log.txt").read_text()
    assert logged.count("training on") == 3


def test_no_time_begins_no_trial(cli, dataset_folder: Path, tmp_path: Path):
    result = cli("tune", "cnn", "--data", dataset_folder, *SMALL, "--timeout", 0.01, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "none yet" in result.stdout
    missing = cli("train", "cnn", "--from-study", "studies/cnn", cwd=tmp_path)
    assert "none of its trials has finished" in missing.stderr


@pytest.mark.parametrize(
    ("space", "arguments", "named"),
    [
        ("stem = ['classic']", (), "unknown settings: stem"),
        ("lr = [0.1]", ("--lr", 0.1), "--lr is in"),
        ("lr = { low = 1, high = 100 }", (), "lr: 100 is not between"),
        ("objective = ['ages', 'both']", ("--metric", "val_loss"), "--metric val_exact"),
        ("lr = 0.1", (), "nothing is left"),
    ],
)
def test_a_wrong_space_is_one_line(
    cli, one_line, dataset_folder: Path, tmp_path: Path, space: str, arguments: tuple, named: str
):
    (tmp_path / "space.toml").write_text(space)
    command = ("tune", "cnn", "--data", dataset_folder, "--space", "space.toml", *arguments)
    assert named in one_line(cli(*command, cwd=tmp_path), 2)
    assert not (tmp_path / "studies").exists()


def test_the_space_is_shown_as_a_file_that_it_takes(cli, tmp_path: Path):
    shown = cli("tune", "dinov2", "--show-space", "--pool", "cls", "--metric", "val_loss")
    space = tomllib.loads(shown.stdout)
    assert "pool" not in space
    assert "objective" not in space
    assert space["hidden"] == [0, 128, 512]


def test_what_keeps_workers_from_working_is_one_line(cli, dataset_folder: Path, tmp_path: Path):
    # Larger than any memory: the trial fails, the study continues, and says why.
    result = cli("tune", "cnn", "--data", dataset_folder, *SMALL, "--trials", 1,
                 "--vram-budget", "1MB", "--json", cwd=tmp_path)  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["trials"]["failed"] == 1
    assert "--vram-budget 1MB" in summary["errors"][0]
