"""Settings from files, and what a search may change."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from agecli.config import (
    CONFIGS,
    Choice,
    CnnConfig,
    Dinov2Config,
    Float,
    Int,
    ResNetConfig,
    read_settings,
    read_space,
    read_table,
    write_toml,
)
from agecli.errors import UsageError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_toml_and_json_give_the_same_settings(tmp_path: Path):
    toml = write(tmp_path / "a.toml", 'model = "cnn"\nlr = 0.01\nepochs = 3\namp = true\n')
    wanted = {"lr": 0.01, "epochs": 3, "amp": True}
    assert read_settings(toml, CnnConfig) == wanted
    file = write(tmp_path / "a.json", json.dumps({"model": "cnn"} | wanted))
    assert read_settings(file, CnnConfig) == wanted


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lr = 'fast'", "lr: 'fast' is not a number"),
        ("lr = true", "lr: True is not a number"),
        ("epochs = 1.5", "epochs: 1.5 is not a whole number"),
        ("amp = 1", "amp: 1 is not true or false"),
        ("mean = 1", "mean: 1 is not a list of numbers"),
        ("mean = ['a']", "mean"),
        ("freeze_epochs = 'two'", "freeze-epochs"),
        ("dropout = 2.0", "dropout: 2.0 is not between"),
        ("stem = 'classic'", "unknown settings: stem"),
        ("model = 'cnn'", "is for cnn"),
        ("lr = ", "cannot be read: Invalid value"),
        ("mean = [0.5, 0.5]", "mean: needs 3 numbers"),
        ("std = [1, 1, 0]", "std: needs 3 numbers from 0.0001"),
        ("lr = nan", "lr: nan is not between"),
        ("epochs = 0x" + "f" * 400, "epochs: 444"),
        ("epochs = 0x" + "f" * 6000, "cannot be read: "),
        ("lr = " + "[" * 5000, "cannot be read: nested too deeply"),
        ("init = '" + "x" * 9000 + "'\nlr = 2020-01-01", "cannot be read: "),
        ("model = [1]", "is for '[1]', which is not a model"),
    ],
)
def test_what_is_wrong_in_a_file_is_reported_with_its_name(tmp_path: Path, text: str, named: str):
    path = write(tmp_path / "mine.toml", text + "\n")
    with pytest.raises(UsageError) as caught:
        read_settings(path, ResNetConfig)
    assert "mine.toml" in str(caught.value)
    assert named in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone\.toml cannot be read: No such file"):
        read_table(tmp_path / "gone.toml")
    with pytest.raises(UsageError, match="cannot be read: Expected object, got array"):
        read_table(write(tmp_path / "list.json", "[1]"))


SPACE = {
    "lr": Float(1e-4, 0.01, log=True),
    "dropout": Float(0.0, 0.5),
    "epochs": Int(1, 64, log=True),
    "augment": Choice(("none", "light", "wild")),
    "amp": Choice((True, False)),
}


def test_a_space_survives_toml():
    assert read_space(tomllib.loads(write_toml(SPACE)), "x") == (SPACE, {})


def test_a_single_value_is_fixed():
    space, fixed = read_space({"objective": "ages", "batch_size": [32, 64]}, "x")
    assert fixed == {"objective": "ages"}
    assert space == {"batch_size": Choice((32, 64))}


@pytest.mark.parametrize(
    "entry",
    [{"low": 1}, {"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": "a", "high": 2},
     {"low": 1, "high": 2, "step": 1}, [], [[1]], {"low": True, "high": 2}],
)  # fmt: skip
def test_what_is_not_a_dimension_is_named(entry: object):
    with pytest.raises(UsageError, match=r"mine\.toml.*lr"):
        read_space({"lr": entry}, "mine.toml")


@pytest.mark.parametrize(
    "base",
    [
        *(kind() for kind in CONFIGS.values()),
        ResNetConfig(init="none"),
        Dinov2Config(views=2),
        Dinov2Config(unfreeze=1),
        Dinov2Config(backbone="scratch:tiny"),
    ],
    ids=lambda base: f"{base.model} {base.title}",
)
def test_every_space_holds_the_defaults_and_only_what_the_model_takes(base):
    for name, dimension in base.space().items():
        default = getattr(base, name)
        if isinstance(dimension, Choice):
            ends = dimension.values
            assert default in ends
        else:
            ends = (dimension.low, dimension.high)
            if default is not None:  # of the resnet's frozen epochs, it depends on the start
                assert dimension.low <= default <= dimension.high, name
        for value in ends:
            assert getattr(replace(base, **{name: value}), name) == value


def test_a_space_leaves_out_what_has_no_effect():
    assert "freeze_epochs" not in ResNetConfig(init="none").space()
    assert "batch_size" not in Dinov2Config().space()
    assert "augment" in Dinov2Config(views=2).space()
