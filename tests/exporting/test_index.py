"""The README of a folder of weights, read back."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from agecli.config import CnnConfig, Dinov2Config, ResNetConfig, command_line
from agecli.errors import WeightsError
from agecli.exporting.index import folder_readme
from agecli.weights import read_metadata, released_folder
from tests.exporting.models import write_model


def config_of(**changes: object) -> dict:
    return {"config": vars(CnnConfig(**changes)), "device": "cpu", "seconds": 600,
            "data": ["UTKFace"], "train_images": 16_709}  # fmt: skip


def test_a_row_per_file_holds_its_own_figures(tmp_path: Path):
    write_model(tmp_path / "cnn.safetensors", "cnn", training=config_of())
    write_model(tmp_path / "mine.safetensors", "capsnet", metrics={}, training={})
    text = folder_readme(tmp_path)
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert rows[2][0] == "`cnn.safetensors`" and rows[3][0] == "`mine.safetensors`"
    assert rows[2][3:] == ["75.0%", "72.8 – 77.1", "95.8%", "66.6%", "5.11 years"]
    assert rows[3][3:] == [""] * 5
    assert "On 1,516 images of the test split; always predicting 25-32 is right for 40.6%." in text
    assert "10 minutes" in text and "non-commercial research" in text
    assert "0123456789abcdef" in text


def test_it_says_which_figures_are_of_other_images(tmp_path: Path):
    first = write_model(tmp_path / "a.safetensors")
    other = read_metadata(first).metrics | {"n": 1_768, "majority": 0.347}
    write_model(tmp_path / "b.safetensors", metrics=other)
    text = folder_readme(tmp_path)
    assert "\nOn 1,516 images of the test split (`a.safetensors`); always predicting" in text
    assert "\nOn 1,768 images of the test split (`b.safetensors`); always predicting" in text


def test_the_licence_names_all_data_sets(tmp_path: Path):
    write_model(tmp_path / "a.safetensors", training=config_of())
    assert "\nTrained on UTKFace, which is for **non-comm" in folder_readme(tmp_path)
    write_model(tmp_path / "b.safetensors", training=config_of() | {"data": ["UTKFace", "groups"]})
    assert "\nTrained on UTKFace and groups, which are for **non-comm" in folder_readme(tmp_path)


def test_it_says_which_files_know_what_they_have_seen(tmp_path: Path):
    write_model(tmp_path / "a.safetensors")
    assert "fingerprint" not in folder_readme(tmp_path)
    write_model(tmp_path / "b.safetensors", fingerprints=1)
    assert "\n`b.safetensors`\nalso keeps a fingerprint of each image" in folder_readme(tmp_path)


def test_the_commands_lead_from_nothing_to_the_file(tmp_path: Path):
    last = config_of(init="first", augment="wild", epochs=24)
    last["before"] = config_of(image_size=96)
    write_model(tmp_path / "cnn.safetensors", "cnn", training=last)
    (block,) = re.findall(r"```bash\n(.*?)\n```", folder_readme(tmp_path), re.DOTALL)
    assert block.splitlines() == [
        "agecli train cnn --image-size 96 --run runs/cnn-1",
        "agecli train cnn --epochs 24 --augment wild --init runs/cnn-1",
    ]


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match="no weights"):
        folder_readme(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig(arch="resnet18", init="runs/resnet-1", rate_ratio=1.5, freeze_epochs=0),
        CnnConfig(image_size=96, amp=True, lr=3e-4, label_width=1.5, workers=3),
        Dinov2Config(backbone="scratch:tiny", image_size=96, teacher="cnn", drop_path=0.2),
    ],
)
def test_a_command_sets_what_it_is_written_for(cli, config, tmp_path: Path):
    """The program itself reads the command: its settings are those of the configuration."""
    import json

    words = shlex.split(command_line(vars(config)))
    assert words[0] == "agecli"
    shown = json.loads(cli(*words[1:], "--show-config", "--json", cwd=tmp_path).stdout)
    assert {name: row["value"] for name, row in shown.items() if name != "model"} == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(config).items()
        if name != "model"
    }


def test_the_released_readme_is_what_the_tool_writes():
    folder = released_folder()
    assert (folder / "README.md").read_text(encoding="utf-8") == folder_readme(folder)


def test_metadata_of_a_training_from_weights_tells_of_both(dataset_folder, tmp_path: Path):
    from agecli.training.pytorch import train
    from agecli.training.runs import Run

    base = CnnConfig(data=str(dataset_folder), image_size=16, epochs=1, batch_size=16, device="cpu")
    first = Run.create(tmp_path / "first", base)
    train(base, first)
    then = replace(base, init=str(first.folder), augment="wild")
    train(then, run := Run.create(tmp_path / "then", then))
    training = read_metadata(run.best).training
    assert training["before"]["config"]["augment"] == "light"
    assert training["config"]["init"] == "first" and training["config"]["augment"] == "wild"
