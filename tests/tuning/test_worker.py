"""A trial is a training: of every model, without the test split, pruned when told to."""

import json
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from agecli.config import CONFIGS
from agecli.data.store import open_dataset
from agecli.errors import DataError, TrainingError
from agecli.evaluation import scoring
from agecli.tuning.study import Claimed, Spec, Study
from agecli.tuning.worker import Job, train_trial, work
from tests.models.backbones import save_backbone

MODELS = {
    "cnn": {"image_size": 16},
    "capsnet": {"image_size": 32, "group_dim": 8},
    "resnet": {"image_size": 32, "arch": "resnet18", "init": "none", "freeze_epochs": 1},
    "dinov2": {},
    "dinov2 unfrozen": {"unfreeze": 1},
    "dinov2 scratch": {"backbone": "scratch:tiny", "image_size": 24},
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_backbone(tmp_path_factory.mktemp("backbone")))


@pytest.fixture(autouse=True)
def unseen_test_split(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a search has scored a model")

    monkeypatch.setattr(scoring, "evaluate_model", refuse)


def make_study(folder: Path, name: str, data: Path, backbone: str, **changes: object) -> Study:
    from importlib import import_module

    from agecli.registry import MODELS as REGISTRY

    settings = {"data": str(data), "epochs": 2, "batch_size": 32, "limit": 64} | MODELS[name]
    model = name.split()[0]
    if model == "dinov2" and "backbone" not in settings:
        settings["backbone"] = backbone
    config = CONFIGS[model](**(settings | changes))
    trainer = import_module(REGISTRY[model].trainer)
    config = trainer.settle(config, announce=print, dry=False)
    split_hash = open_dataset(data).split_hash
    spec = Spec(
        model, asdict(config), settings, {"lr": [config.lr]}, "val_exact", "none", split_hash
    )
    return Study.create(folder, "", spec)


def train_one(study: Study, data: Path) -> Claimed:
    taken: list[Claimed] = []

    def train(claimed: Claimed) -> float:
        taken.append(claimed)
        return train_trial(study.spec.base, open_dataset(data), claimed, study.spec.metric)

    assert study.work(1, train)
    return taken[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_trial_is_a_training_without_its_test(
    name: str, dataset_folder: Path, tmp_path: Path, backbone: str
):
    study = make_study(tmp_path / "s", name, dataset_folder, backbone)
    claimed = train_one(study, dataset_folder)
    best = study.progress(1).best
    assert best
    lines = (claimed.folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    kept = [record for record in records if record["best"]][-1]
    assert best.value == kept["val_exact"]
    assert best.intermediate_values == {r["epoch"]: r["val_exact"] for r in records}
    assert not list(claimed.folder.rglob("*.safetensors"))
    assert not list(claimed.folder.rglob("*.pt"))


@pytest.mark.parametrize("name", ["cnn", "resnet", "dinov2", "dinov2 unfrozen"])
def test_a_hopeless_trial_is_pruned(
    name: str, dataset_folder: Path, tmp_path: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: True)
    study = make_study(tmp_path / "s", name, dataset_folder, backbone)
    claimed = train_one(study, dataset_folder)
    (trial,) = study.inner.get_trials()
    assert trial.state == TrialState.PRUNED
    assert len(trial.intermediate_values) == 1
    assert not list(claimed.folder.rglob("*.safetensors"))


def test_a_diverging_trial_fails_alone(dataset_folder: Path, tmp_path: Path, monkeypatch):
    def diverge(*_: object, **__: object) -> None:
        raise TrainingError("The loss became nan in epoch 1: lower --lr")

    monkeypatch.setattr("agecli.training.pytorch.train", diverge)
    study = make_study(tmp_path / "s", "cnn", dataset_folder, "")
    train_one(study, dataset_folder)
    progress = study.progress(1)
    assert progress.failed == 1
    assert "nan" in progress.finished[0].user_attrs["error"]


def test_a_budget_is_planned_for_each_trial(dataset_folder: Path, tmp_path: Path):
    study = make_study(tmp_path / "s", "cnn", dataset_folder, "", vram_budget="20MB")
    claimed = train_one(study, dataset_folder)
    config = json.loads((claimed.folder / "config.json").read_text())
    assert config["batch_size"] * config["accumulate"] == 32
    assert config["grad_checkpoint"]


def test_another_data_set_is_refused(dataset_folder: Path, tmp_path: Path):
    study = make_study(tmp_path / "s", "cnn", dataset_folder, "")
    study.inner.set_user_attr("agecli", asdict(study.spec) | {"split_hash": "other"})
    with pytest.raises(DataError, match="another split"):
        work(Job(str(study.folder), "", 1, {"data": str(dataset_folder)}))
