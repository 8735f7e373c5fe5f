"""A teacher's answers, and trainings of every kind that learn from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from agecli.ages import Scheme
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.data.store import open_dataset
from agecli.errors import UsageError
from agecli.inference.predictor import load_model
from agecli.training import train as training
from agecli.training.memory_plan.footprint import measure
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.session import Session
from agecli.training.teacher import Teacher, check_teacher, make_teacher
from agecli.weights import load_weights, read_metadata, save_weights
from tests.exporting.models import write_model

SCHEME = Scheme.parse("adience8")
OLDEST = 7
"""The group that a stubborn teacher answers."""

KINDS: dict[str, TrainConfig] = {
    "cnn": CnnConfig(image_size=16, lr=3e-3, dropout=0.1),
    "groups": CnnConfig(image_size=16, objective="groups", lr=3e-3, dropout=0.1),
    "capsnet": CapsNetConfig(image_size=32),
    "resnet": ResNetConfig(image_size=32, arch="resnet18", init="none"),
    "scratch": Dinov2Config(image_size=24, backbone="scratch:tiny", lr=3e-3),
}


def stubborn(path: Path, dataset: Path, name: str = "cnn") -> Path:
    """Write a teacher of the data set's split that answers the oldest group, or its years."""
    write_model(path, name, split_hash=open_dataset(dataset).split_hash)
    tensors = load_file(path)
    if name == "cnn":
        tensors["head.5.bias"] = torch.where(torch.arange(101) >= 60, 20.0, 0.0)
    save_weights(path, tensors, read_metadata(path), half=False)
    return path


def fit(config: TrainConfig, folder: Path) -> Run:
    run = Run.create(folder, config)
    training.fit(config, run, Observer(), score=False)
    return run


def chance_of_oldest(run: Run, dataset: Path) -> float:
    data = open_dataset(dataset)
    model = load_model(run.best, "cpu")
    answers = model.interpret(model.distributions(data.images[data.rows("val")]))
    return float(answers.groups[:, OLDEST].mean())


@pytest.mark.parametrize("kind", ["cnn", "groups", "capsnet", "scratch"])
def test_a_teacher_is_learned_from(kind: str, dataset_folder: Path, tmp_path: Path):
    teacher = stubborn(tmp_path / "teacher.safetensors", dataset_folder)
    plain = replace(
        KINDS[kind], data=str(dataset_folder), device="cpu", epochs=2, batch_size=16, ema=0.9
    )
    taught = training.settle(replace(plain, teacher=str(teacher)))
    runs = [fit(config, tmp_path / name) for name, config in (("a", plain), ("b", taught))]
    chances = [chance_of_oldest(run, dataset_folder) for run in runs]
    assert chances[1] > 1.3 * chances[0]
    metadata = read_metadata(runs[1].best)
    assert metadata.training["config"]["teacher"] == "teacher.safetensors"
    assert metadata.fingerprints == 0  # the teacher does not say what it has seen


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of fastai
def test_fastai_hands_its_answers_to_the_loss(dataset_folder: Path, tmp_path: Path):
    from agecli.training.fastai_loaders import make_loaders

    teacher = stubborn(tmp_path / "teacher.safetensors", dataset_folder)
    config = replace(
        KINDS["resnet"], data=str(dataset_folder), device="cpu", epochs=1, batch_size=16, limit=32,
        teacher=str(teacher),
    )  # fmt: skip
    session = Session.open(config, Run(tmp_path), Observer())
    assert session.teacher is not None
    loaders = make_loaders(session)
    images, ages, soft = next(iter(loaders.train))
    torch.testing.assert_close(soft, session.teacher(torch.Tensor(images)))
    assert len(next(iter(loaders.valid))) == 2
    logits, loss = torch.zeros(16, 101), session.objective.train()
    expected = loss(logits, torch.Tensor(ages).long()) / 2 + np.log(101) / 2
    torch.testing.assert_close(loss(logits, ages, soft), expected)
    history = fit(config, tmp_path / "run").history()
    assert np.isfinite([epoch.train_loss for epoch in history]).all()


@pytest.mark.parametrize("name", ["cnn", "capsnet"])
def test_it_answers_the_students_images_at_its_own_side(tmp_path: Path, name: str):
    path = write_model(tmp_path / "teacher.safetensors", name)
    images = torch.randn(3, 3, 48, 48)
    small = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    teacher = make_teacher(CnnConfig(teacher=str(path)), SCHEME)
    assert teacher is not None
    with torch.no_grad():
        expected = load_weights(path)[0](small).softmax(dim=1)
    torch.testing.assert_close(teacher(images), expected)
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teacher_of_other_groups_or_colours_is_refused(dataset_folder: Path, tmp_path: Path):
    path = write_model(tmp_path / "groups.safetensors", "capsnet")
    others = Scheme.parse("decades")
    with pytest.raises(UsageError, match=r"--teacher: .*groups.safetensors .*other age groups"):
        Teacher(CnnConfig(teacher=str(path)), others)
    years = write_model(tmp_path / "years.safetensors")
    Teacher(CnnConfig(teacher=str(years)), others)
    grey = write_model(tmp_path / "grey.safetensors", mean=[0.5] * 3)
    with pytest.raises(UsageError, match=r"--teacher: .*grey.safetensors normalises .*differently"):
        Teacher(CnnConfig(teacher=str(grey)), SCHEME)
    for model in KINDS.values():
        config = replace(model, data=str(dataset_folder), teacher=str(years))
        with pytest.raises(UsageError, match="another split"):
            training.settle(config)
    check_teacher(CnnConfig())


def test_a_teacher_is_counted_among_what_a_step_holds(tmp_path: Path):
    path = write_model(tmp_path / "teacher.safetensors")
    plain = CnnConfig(image_size=32, batch_size=4, device="cpu")
    taught = replace(plain, teacher=str(path))
    more = measure(taught, SCHEME, "cpu").peak - measure(plain, SCHEME, "cpu").peak
    weights = sum(p.nbytes for p in load_weights(path)[0].state_dict().values())
    assert weights <= more < 1.2 * weights


def test_a_taught_training_resumes_to_the_same_bits(dataset_folder: Path, tmp_path: Path):
    teacher = stubborn(tmp_path / "teacher.safetensors", dataset_folder)
    config = CnnConfig(
        data=str(dataset_folder), image_size=16, epochs=2, batch_size=32, device="cpu",
        teacher=str(teacher),
    )  # fmt: skip
    whole = fit(config, tmp_path / "whole")
    stopped = Run.create(tmp_path / "stopped", config)

    class Stop(Observer):
        def finished_epoch(self, epoch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(config, stopped, Stop(), score=False)
    training.fit(config, stopped, Observer(), score=False)
    records = [
        [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        for run in (whole, stopped)
    ]
    assert [e["train_loss"] for e in records[0]] == [e["train_loss"] for e in records[1]]
    first, second = (load_file(run.best) for run in (whole, stopped))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor.numpy(), second[name].numpy())
