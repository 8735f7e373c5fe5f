"""Training from Python: silent, typed, and the same as the command's."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agecli.config import CnnConfig, PrepareConfig
from agecli.data.prepare import prepare
from agecli.errors import DataError, DiskError, TrainingError, UsageError
from agecli.training.memory_plan.budget import Plan
from agecli.training.observer import Observer
from agecli.training.records import Epoch, Started, Step
from agecli.training.runs import Run
from agecli.training.train import resume, train
from agecli.weights import read_metadata

SMALL = {"image_size": 16, "batch_size": 16, "epochs": 2, "limit": 48, "device": "cpu"}


class Listener(Observer):
    """Records its events; stops after an epoch if asked to."""

    def __init__(self, stop_after: int = 0) -> None:
        self.stop_after = stop_after
        self.heard: list[object] = []

    def opened(self, run: Path) -> None:
        self.heard.append(run)

    def planned(self, plan: Plan) -> None:
        self.heard.append(plan)

    def started(self, training: Started) -> None:
        self.heard.append(training)

    def stepped(self, step: Step) -> None:
        self.heard.append(step)

    def finished_epoch(self, epoch: Epoch) -> None:
        self.heard.append(epoch)
        if epoch.epoch == self.stop_after:
            raise KeyboardInterrupt

    def of(self, kind: type) -> list:
        return [it for it in self.heard if isinstance(it, kind)]


def test_a_model_is_trained_by_its_name_in_silence(
    dataset_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture
):
    listener = Listener()
    done = train(
        "cnn", data=dataset_folder, run=tmp_path / "run", observer=listener, **SMALL
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert done.config == CnnConfig(data=str(dataset_folder), **SMALL)
    assert done.run == tmp_path / "run" and done.weights.parent == done.run
    assert read_metadata(done.weights).metrics == json.loads(json.dumps(done.metadata.metrics))
    assert done.metadata.metrics["n"] > 0
    assert isinstance(listener.heard[0], Path)
    (started,) = listener.of(Started)
    assert (started.train_images, started.epochs, started.done) == (48, 2, 0)
    assert listener.of(Step)[-1].step == listener.of(Step)[-1].steps == 3
    lines = (done.run / "metrics.jsonl").read_text().splitlines()
    assert [epoch.to_plain() for epoch in listener.of(Epoch)] == [json.loads(x) for x in lines]


def test_a_stopped_training_is_resumed_to_the_same_weights(dataset_folder: Path, tmp_path: Path):
    config = CnnConfig(data=str(dataset_folder), **SMALL)
    whole = train(config, run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, run=tmp_path / "cut", observer=Listener(stop_after=1))
    listener = Listener()
    done = resume(tmp_path / "cut", observer=listener)
    assert [epoch.epoch for epoch in listener.of(Epoch)] == [2]
    first, second = load_file(whole.weights), load_file(done.weights)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert whole.weights.read_bytes() == done.weights.read_bytes()  # nothing measured is in it


def test_a_run_resumes_where_its_data_are_now(dataset_folder: Path, tmp_path: Path):
    data = tmp_path / "before"
    shutil.copytree(dataset_folder, data)
    with pytest.raises(KeyboardInterrupt):
        train("cnn", run=tmp_path / "run", observer=Listener(stop_after=1), data=data, **SMALL)
    data.rename(moved := tmp_path / "after")
    with pytest.raises(DataError, match=r"before: .* moved, pass its folder as --data"):
        resume(tmp_path / "run")
    done = resume(tmp_path / "run", data=moved, workers=2)
    assert (done.config.data, done.config.workers) == (str(moved), 2)
    assert json.loads((done.run / "config.json").read_text())["data"] == str(moved)
    assert done.metadata.training["epochs"] == 2


def test_data_of_another_split_are_refused_and_change_nothing(
    archive: Path, dataset_folder: Path, tmp_path: Path
):
    stop = Listener(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        train("cnn", run=tmp_path / "run", observer=stop, data=dataset_folder, **SMALL)
    before = (tmp_path / "run" / "config.json").read_text()
    prepare([archive], tmp_path / "other", PrepareConfig(size=32, seed=1), workers=1)
    with pytest.raises(DataError, match=r"--data: .*other has another split"):
        resume(tmp_path / "run", data=tmp_path / "other")
    assert (tmp_path / "run" / "config.json").read_text() == before
    with pytest.raises(UsageError, match="'lr' is fixed in the run"):
        resume(tmp_path / "run", lr=0.1)


def test_a_full_disk_ends_a_training_with_the_way_on(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise DiskError("No room for state.pt: free some there")

    with monkeypatch.context() as patched, pytest.raises(DiskError) as caught:
        patched.setattr(Run, "save", full)
        train("cnn", run=tmp_path / "a run", data=dataset_folder, **SMALL)
    words = shlex.split(str(caught.value).split("`")[1])
    assert words == ["agecli", "train", "cnn", "--resume", str(tmp_path / "a run")]
    assert resume(words[-1]).metadata.training["epochs"] == 2


def test_a_configuration_is_changed_by_settings_and_a_budget_told(
    dataset_folder: Path, tmp_path: Path
):
    listener = Listener()
    config = CnnConfig(data=str(dataset_folder), **SMALL)
    done = train(
        config, run=tmp_path / "run", observer=listener, epochs=1, vram_budget="20MB"
    )  # fmt: skip
    (plan,) = listener.of(Plan)
    assert done.config == plan.config
    assert (plan.config.epochs, plan.config.batch_size * plan.config.accumulate) == (1, 16)
    assert plan.footprint.peak <= 0.8 * 20e6


def test_what_is_wrong_is_reported_before_a_run_is_made(dataset_folder: Path, tmp_path: Path):
    run = tmp_path / "run"
    with pytest.raises(UsageError, match="'vgg' is not a model: choose one of cnn"):
        train("vgg", run=run)
    with pytest.raises(UsageError, match="unknown settings: wings"):
        train("cnn", run=run, wings=2)
    with pytest.raises(UsageError, match="--epochs: 0 is not between"):
        train(CnnConfig(), run=run, epochs=0)
    with pytest.raises(DataError, match="agecli prepare"):
        train("cnn", data=tmp_path / "none", run=run)
    with pytest.raises(TrainingError, match="No run in"):
        resume(run)
    assert not run.exists()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(TrainingError, match="not empty and not a run"):
        train("cnn", data=dataset_folder, run=tmp_path / "used", **SMALL)


@pytest.mark.parametrize("objective", ["ages", "both", "groups"])
def test_ranges_alone_train_and_score_a_model_without_errors_in_years(
    dataset_folder: Path, tmp_path: Path, objective: str
):
    data = tmp_path / "ranges"
    shutil.copytree(dataset_folder, data)
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (data / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        table.writeheader()
        table.writerows(row | {"age": f"{row['age']}-{int(row['age']) + 2}"} for row in rows)
    receipt = json.loads((data / "receipt.json").read_text()) | {"manifest": ""}
    (data / "receipt.json").write_text(json.dumps(receipt))
    listener = Listener()
    done = train(
        "cnn", data=data, run=tmp_path / "run", observer=listener, objective=objective, **SMALL
    )
    (*_, last) = listener.of(Epoch)
    assert last.val.mae is None and last.val.exact is not None
    assert done.metadata.metrics["n"] > 0 and "mae" not in done.metadata.metrics
