"""weights/train.sh: the release from its archives, at toy size, stopped and started again."""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from agecli.config import CONFIGS
from agecli.inference.fitted import find_fitted
from agecli.training.observer import Observer
from agecli.training.train import train
from agecli.weights import read_metadata, released_folder
from tests.data.pictures import write_set
from tests.models.dlib_file import random_layers, write_dlib

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "weights" / "train.sh"
TOY = {"epochs": 1, "image_size": 56, "batch_size": 16, "device": "cpu"}
FACES = "dlib_face_recognition_resnet_model_v1.dat"
COMMANDS = {
    line.split()[1]: shlex.split(line, comments=True)
    for line in SCRIPT.read_text(encoding="utf-8").splitlines()
    if line.startswith("train ")
}


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder, with the agecli of these tests first on the path."""
    program = folder / "bin" / "agecli"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agecli "$@"\n')
    program.chmod(0o755)
    options = "--epochs 1 --image-size 56 --batch-size 16 --device cpu --shares Drawn=1,groups=1"
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)], cwd=folder, text=True, capture_output=True,
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "OPTIONS": options,
                          "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


class Stops(Observer):
    """Stops a training after its first epoch, as Ctrl-C does."""

    def finished_epoch(self, epoch: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_it_resumes_where_it_was_and_skips_what_is_finished(archive, tmp_path, monkeypatch):
    names = [f"{age}/{number}.jpg" for age in ("0-2", "37-65") for number in range(12)]
    groups = write_set(tmp_path / "groups", names)
    with tarfile.open(tmp_path / "groups.tar", "w") as tar:
        tar.add(groups, "groups")
    sources = (archive, "groups.tar")
    release = tmp_path / "release"
    release.mkdir()
    write_dlib(release / FACES, random_layers())
    first = run(tmp_path, *sources, "capsnet")
    assert first.returncode == 0, first.stderr
    assert sorted(file.name for file in (release / "weights").iterdir()) == [
        "README.md", "capsnet.md", "capsnet.safetensors",
    ]  # fmt: skip
    before = (release / "weights/capsnet.safetensors").stat()

    monkeypatch.chdir(release)
    with pytest.raises(KeyboardInterrupt):
        train("cnn", run="runs/cnn", data="data/both", observer=Stops(), **TOY | {"epochs": 2})
    stopped = (release / "runs/cnn/metrics.jsonl").read_text()
    second = run(tmp_path, *sources, "cnn", "capsnet")
    assert second.returncode == 0, second.stderr
    assert "release/weights/capsnet.safetensors is there" in second.stderr
    assert (release / "weights/capsnet.safetensors").stat() == before
    metrics = (release / "runs/cnn/metrics.jsonl").read_text()
    assert metrics.startswith(stopped) and metrics.count("\n") == 2  # epochs, as it had begun
    metadata = read_metadata(release / "weights/cnn.safetensors")
    assert metadata.training["data"] == ["Drawn", "groups"]
    assert metadata.licence == "research use only: trained on Drawn and groups"
    fitted = find_fitted([release / f"weights/{name}.safetensors" for name in ("cnn", "capsnet")])
    assert fitted.fitted and fitted.fitted.n >= 10
    readme = (release / "weights/README.md").read_text()
    assert f"`ensemble.json`: {fitted.fitted}" in readme
    assert "`cnn.safetensors`" in readme and "agecli train capsnet --image-size 56" in readme
    assert "groups" in (release / "report/report.md").read_text()


@pytest.mark.parametrize(
    "arguments", [[], ["UTKFace.tar.gz"], ["a.tar", "b.tar", "vgg"]], ids=["none", "one", "unknown"]
)
def test_misuse_is_reported_before_anything_is_made(tmp_path, arguments):
    for name in ("UTKFace.tar.gz", "a.tar", "b.tar"):
        (tmp_path / name).touch()
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: bash weights/train.sh UTKFace.tar.gz")
    assert not (tmp_path / "release").exists()


@pytest.mark.parametrize("model", CONFIGS)
def test_each_model_is_trained_by_one_command_that_it_takes(cli, model, tmp_path):
    _, *words = COMMANDS[model]
    shown = cli("train", *words, "--show-config", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["init"]["value"] in ("none", FACES)


def test_the_commands_of_models_trained_on_both_sets_are_those_of_the_released_readme():
    text = (released_folder() / "README.md").read_text(encoding="utf-8")
    for path in sorted(released_folder().glob("*.safetensors")):
        metadata = read_metadata(path)
        if len(metadata.training["data"]) > 1:
            (line,) = re.findall(rf"agecli (train {metadata.model} .*)", text)
            assert shlex.split(line) == COMMANDS[metadata.model]
