"""Figures logged to trackers: TensorBoard's files are read back by TensorBoard itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agecli.errors import UsageError
from agecli.training.observer import Observer
from agecli.training.trackers import check_tracker
from agecli.training.train import resume, train
from tests.models.backbones import save_backbone

SMALL = {"image_size": 32, "batch_size": 16, "epochs": 2, "limit": 32, "device": "cpu"}
KINDS: dict[str, dict[str, Any]] = {
    "cnn": {},
    "capsnet": {},
    "resnet": {"arch": "resnet18", "init": "none"},
    "dinov2": {"image_size": 28},
}


def read_back(folder: Path) -> dict[str, dict[int, float]]:
    """Return TensorBoard's figures of a run, by name and epoch."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("model", KINDS)
def test_tensorboard_has_the_figures_of_every_trainer(
    model: str, dataset_folder: Path, tmp_path: Path
):
    pytest.importorskip("tensorboard")
    settings = SMALL | KINDS[model]
    if model == "dinov2":
        settings["backbone"] = str(save_backbone(tmp_path / "backbone"))
    run = tmp_path / "run"
    done = train(model, data=dataset_folder, run=run, log_to="tensorboard", **settings)
    shown = read_back(run)
    kept = metrics_of(run)
    for name in ("train_loss", "val_loss", "val_exact", "lr"):
        assert shown[name] == pytest.approx({line["epoch"]: line[name] for line in kept})
    assert shown["test_exact"] == pytest.approx({len(kept): done.metadata.metrics["exact"]})
    assert not {"epoch", "best", "phase"} & set(shown)
    assert "log_to" not in done.metadata.training["config"]


class Stopping(Observer):
    def finished_epoch(self, epoch) -> None:
        raise KeyboardInterrupt


def test_a_resumed_run_stays_in_the_same_place(dataset_folder: Path, tmp_path: Path):
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train("cnn", data=dataset_folder, run=run, log_to="tensorboard", observer=Stopping(),
              **SMALL)  # fmt: skip
    resume(run)
    assert set(read_back(run)["val_loss"]) == {1, 2}
    (settings,) = (run / "tensorboard").glob("*/hparams.yml")
    assert "batch_size: 16" in settings.read_text()


class Listener(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def test_a_tracker_that_fails_ends_no_training(dataset_folder: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("tensorboard")
    from accelerate.tracking import TensorBoardTracker

    def fail(*_: object, **__: object) -> None:
        raise OSError("the service is gone")

    monkeypatch.setattr(TensorBoardTracker, "log", fail)
    listener = Listener()
    train("cnn", data=dataset_folder, run=tmp_path / "run", log_to="tensorboard",
          observer=listener, **SMALL)  # fmt: skip
    assert listener.warnings == [
        "--log-to tensorboard failed, and is switched off: the service is gone"
    ]
    assert len(metrics_of(tmp_path / "run")) == 2


def test_a_tracker_that_is_not_installed_is_reported_before_anything_is_made(
    dataset_folder: Path, tmp_path: Path, monkeypatch
):
    from accelerate import tracking

    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(UsageError, match=r'--log-to: .* pip install "agecli\[tensorboard\]"'):
        train("cnn", data=dataset_folder, run=tmp_path / "run", log_to="tensorboard", **SMALL)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match='pip install "comet-ml"'):
        check_tracker("comet_ml")


def test_without_the_option_nothing_of_a_tracker_is_imported(dataset_folder: Path, tmp_path: Path):
    code = (
        "import sys; from agecli import train\n"
        f"train('cnn', data=sys.argv[1], run=sys.argv[2], **{SMALL})\n"
        "print(*{'tensorboard', 'wandb', 'mlflow'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(dataset_folder), str(tmp_path / "run")]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "\n"), result.stderr
