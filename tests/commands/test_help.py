"""Help pages, and what the shell completes."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from agecli.commands import _completion as completion
from agecli.config import CONFIGS
from agecli.config.fields import NOT_GIVEN, PANELS, Option, mark_of, types_of
from agecli.registry import MODELS

ROOT = Path(__file__).parents[2]


def panels(page: str) -> dict[str, list[str]]:
    """Return the options of a help page by the panel's title."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        if line.startswith("╭"):
            found[line.strip("╭─╮ ")] = []
        elif line.startswith("│ --"):
            found[list(found)[-1]].append(line.split()[1])
    return found


@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_ten_that_matter_come_first_and_the_others_by_panels(cli, command: str, model: str):
    found = panels(cli(command, model, "--help", COLUMNS="100").stdout)
    titles = [title for title in found if title != "Search"]
    assert titles == ["Options", *PANELS]
    assert {"--data", "--image-size", "--epochs", "--batch-size", "--lr"} <= set(found["Options"])
    assert len(found["Options"]) <= 10 + len(["--help"])
    assert "--weight-decay" in found["Optimisation"]
    assert "--vram-budget" in found["Memory"]
    assert ("Search" in found) == (command == "tune")


def test_a_setting_is_in_the_same_panel_for_every_model():
    found: dict[str, set[object]] = {}
    for kind in CONFIGS.values():
        for field in fields(kind):
            mark = mark_of(types_of(kind)[field.name])[1]
            if mark != NOT_GIVEN:
                found.setdefault(field.name, set()).add((mark or Option()).panel)
    assert all(len(panels) == 1 for panels in found.values()), found


def test_a_page_is_as_wide_as_the_terminal_and_plain_where_it_is_piped(cli):
    for width in (60, 80, 120):
        page = cli("train", "resnet", "--help", COLUMNS=str(width)).stdout
        assert max(map(len, page.splitlines())) == width
        assert "\x1b" not in page
    page = cli("train", "cnn", "--help", COLUMNS="100").stdout
    assert "--lr <float>" in page and "[default: 0.001]" in page
    lines = [line.strip() for line in page.splitlines()]
    assert "agecli train cnn --image-size 128 --amp" in lines  # examples are not joined


def test_a_group_lists_its_commands_and_is_shown_without_one(cli):
    page = cli("train", "--help").stdout
    for model, kind in CONFIGS.items():
        assert f"│ {model} " in page
        assert str(kind.__doc__).split(",")[0].split(":")[0][:30] in page
    assert "Commands" in cli("tune").stdout


# Completion


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a working folder with a run, a study, a data set and weights."""
    for name in ("runs/one/config.json", "runs/one/best.safetensors", "runs/new/config.json",
                 "runs/none/log.txt", "studies/cnn/best.toml", "data/faces/receipt.json",
                 "mine/best/config.json", "mine.onnx", "weights/old.safetensors"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_lies_here_is_completed(folders: Path):
    assert completion.runs("") == ["runs/new", "runs/one"]
    assert completion.runs("runs/o") == ["runs/one"]
    assert completion.runs("mine/") == ["mine/best"]
    assert completion.runs(f"{folders}/runs/o") == [f"{folders}/runs/one"]
    assert completion.studies("s") == ["studies/cnn"]
    assert completion.datasets("") == ["data/faces"]
    assert completion.weights("r") == ["resnet", "runs/one"]
    assert set(completion.weights("")) == {*MODELS, "runs/one", "weights/old.safetensors",
                                           "mine.onnx"}  # fmt: skip
    assert completion.weights("mine") == ["mine.onnx"]
    assert completion.models("a") == ["all"]
    assert completion.runs("[") == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("agecli train ", [*CONFIGS]),
        ("agecli train cnn --resume ", ["runs/new", "runs/one"]),
        ("agecli train cnn --from-study ", ["studies/cnn"]),
        ("agecli train capsnet --data ", ["data/faces"]),
        ("agecli train resnet --init runs/", ["runs/one"]),
        ("agecli tune dinov2 --study ", ["studies/cnn"]),
        ("agecli evaluate cnn ru", ["runs/one"]),
        ("agecli export c", ["cnn", "capsnet"]),
        ("agecli predict --model d", ["dinov2"]),
        ("agecli guide pre", ["prepare", "predict"]),
        ("agecli predict --weights runs/", ["runs/one"]),
    ],
)
def test_the_shell_is_completed(folders: Path, line: str, wanted: list[str]):
    words = line.split(" ")
    code = (
        "import sys; sys.argv = ['agecli']; sys.modules['pydantic'] = None\n"  # slow to load
        "from agecli.cli import main; main()"
    )
    asked = {"_AGECLI_COMPLETE": "complete_bash", "COMP_WORDS": line,
             "COMP_CWORD": str(len(words) - 1), "PYTHONPATH": str(ROOT)}  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
    )
    assert (result.stdout.split(), result.stderr) == (wanted, "")


def test_completion_is_offered(cli):
    page = cli("--help").stdout
    assert "--install-completion" in page and "--show-completion" in page
