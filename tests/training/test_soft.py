"""Trainings of every kind that learn from a file of soft labels."""

from dataclasses import replace
from pathlib import Path

import pytest

from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import DataError, UsageError
from agecli.training import train as training
from agecli.training.runs import Run
from agecli.training.train import resume, train
from agecli.weights import read_metadata
from tests.models.backbones import save_backbone
from tests.training.test_teacher import OLDEST, chance_of_oldest, fit

GROUPS = ["0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+"]


def write_oldest(path: Path, dataset: Path, split: str = "train") -> Path:
    """Write soft labels that call all images of a split the oldest."""
    data = open_dataset(dataset)
    chances = ",".join(str(int(group == OLDEST)) for group in range(8))
    rows = [f"{id},{chances}" for id in data.ids[data.rows(split)]]
    path.write_text("\n".join([f"id,{','.join(GROUPS)}", *rows, f"gone.jpg,{chances}", ""]))
    return path


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return save_backbone(tmp_path / "backbone")


@pytest.mark.parametrize("kind", ["cnn", "capsnet", "heads"])
def test_soft_labels_are_learned(kind: str, dataset_folder: Path, tmp_path: Path, backbone: Path):
    configs: dict[str, TrainConfig] = {
        "cnn": CnnConfig(image_size=16, lr=3e-3, epochs=2),
        "capsnet": CapsNetConfig(image_size=32, epochs=2),
        "heads": Dinov2Config(backbone=str(backbone), lr=3e-2, epochs=20),
    }
    plain = replace(configs[kind], data=str(dataset_folder), device="cpu", batch_size=16, ema=0.9)
    path = write_oldest(tmp_path / "soft.csv", dataset_folder)
    said: list[str] = []
    taught = training.settle(replace(plain, soft_labels=str(path)), said.append)
    runs = [
        fit(config, tmp_path / name)
        for name, config in (("a", training.settle(plain)), ("b", taught))
    ]
    chances = [chance_of_oldest(run, dataset_folder) for run in runs]
    assert chances[1] > 1.3 * chances[0]
    config = read_metadata(runs[1].best).training["config"]
    assert config["soft_labels"] == "soft.csv"
    assert len(config["soft_labels_sha256"]) == 64
    count = len(open_dataset(dataset_folder).rows("train"))
    line = f"{count} of {count} training images have one; 1 rows name no image of {dataset_folder}"
    assert said == [f"--soft-labels: {line}"]


def small(dataset: Path, soft: Path, **settings) -> CnnConfig:
    return CnnConfig(
        data=str(dataset), soft_labels=str(soft), image_size=16, epochs=1, batch_size=64,
        device="cpu", **settings,
    )  # fmt: skip


def test_a_run_resumes_with_the_same_file_alone(dataset_folder: Path, tmp_path: Path):
    path = write_oldest(tmp_path / "soft.csv", dataset_folder)
    run = train(small(dataset_folder, path), run=tmp_path / "run").run
    resume(run)
    path.write_text(path.read_text().replace("gone.jpg", "lost.jpg"))
    with pytest.raises(
        DataError, match=r"soft.csv is not the file that this training started with"
    ):
        resume(run)
    again = train(Run.open(run)[1], run=tmp_path / "again")  # a new run is free to
    assert again.config.soft_labels_sha256 != Run.open(run)[1].soft_labels_sha256


def test_soft_labels_that_teach_nothing_are_refused_before_a_run(
    dataset_folder: Path, tmp_path: Path
):
    path = write_oldest(tmp_path / "soft.csv", dataset_folder, "test")
    with pytest.raises(DataError, match=r"no row of .*soft.csv names a training image of"):
        train(small(dataset_folder, path), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_and_soft_labels_exclude_each_other():
    with pytest.raises(UsageError, match="--teacher and --soft-labels"):
        CnnConfig(teacher="cnn", soft_labels="a.csv")
