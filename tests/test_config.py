"""The defaults and their checks."""

import inspect
import json
from dataclasses import asdict, fields, replace
from typing import get_type_hints

import pytest

from agecli.config import (
    CONFIGS,
    CapsNetConfig,
    CnnConfig,
    Dinov2Config,
    PrepareConfig,
    ResNetConfig,
    read_config,
)
from agecli.errors import UsageError


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", float("nan")), ("lr", -1.0), ("dropout", 1.0), ("ema", 1.0),
     ("objective", "fame"), ("schedule", "step"), ("balance", "half"), ("device", "tpu"),
     ("vram_budget", "4 apples"), ("vram_budget", "GB"), ("vram_budget", "-4GB"),
     ("vram_budget", "0GB"), ("vram_budget", "9" * 400 + "GB"),
     ("shares", "UTKFace"), ("shares", "=1"), ("shares", "a=1,a=2"), ("shares", "a=0,b=0"),
     ("shares", "a=nan"), ("shares", "a=-1,b=2"), ("range_weight", 0)],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_flag(field: str, value: object):
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')}"):
        CnnConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("stem", "tulip"), ("routing_iters", 0), ("image_size", 31)]
)
def test_a_wrong_value_of_the_capsnet_is_named_by_its_flag(field: str, value: object):
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')}"):
        CapsNetConfig(**{field: value})


@pytest.mark.parametrize(
    ("config", "settings", "says"),
    [(CapsNetConfig, {"stem": "dlib29", "image_size": 54}, "--image-size"),
     (CapsNetConfig, {"init": "a.dat"}, "--init: a.dat .*add --stem dlib29"),
     (ResNetConfig, {"arch": "dlib29", "init": "none", "image_size": 102}, "--image-size"),
     (ResNetConfig, {"init": "a.dat"}, "--init: a.dat .*add --arch dlib29")],
)  # fmt: skip
def test_dlibs_network_and_its_file_go_together(config, settings, says):
    with pytest.raises(UsageError, match=says):
        config(**settings)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("4GB", 4 * 10**9), ("3.5 gib", 3.5 * 2**30), ("900MB", 9 * 10**8),
     ("512MiB", 2**29)],
)  # fmt: skip
def test_a_budget_is_read_in_bytes(text: str, count: int):
    assert CnnConfig(vram_budget=text).budget_bytes() == count


def test_shares_are_read_by_source():
    assert CnnConfig().source_shares() == {}
    shares = CnnConfig(shares="UTKFace=2, a=b=0.5").source_shares()
    assert shares == {"UTKFace": 2, "a=b": 0.5}


@pytest.mark.parametrize(
    "config",
    [
        CnnConfig(lr=0.5, objective="groups", augment="wild"),
        CapsNetConfig(stem="classic", share=False),
        ResNetConfig(arch="resnet18", init="none", freeze_epochs=3),
        Dinov2Config(backbone="a/b", revision="c", views=2, mean=(0.1, 0.2, 0.3)),
    ],
    ids=lambda config: config.model,
)
def test_a_configuration_survives_json(config):
    assert read_config(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("kind", CONFIGS.values(), ids=list(CONFIGS))
def test_every_number_with_a_point_may_have_one(kind):
    """A default of 100 where 0.5 is allowed would have refused 0.5."""
    hints = get_type_hints(kind)
    numbers = [field for field in fields(kind) if hints[field.name] is float]
    assert numbers and all(type(field.default) is float for field in numbers)


def test_an_unknown_model_or_setting_is_named():
    with pytest.raises(UsageError, match="'vgg'"):
        read_config({"model": "vgg"})
    with pytest.raises(UsageError, match="stem"):
        read_config({"model": "cnn", "stem": "classic"})


def test_prepare_checks_its_scheme():
    with pytest.raises(UsageError, match="--scheme"):
        PrepareConfig(scheme="old,young")


def test_from_scratch_no_epoch_trains_the_head_alone_unless_asked():
    assert ResNetConfig().frozen_epochs == 1
    assert ResNetConfig(init="none").frozen_epochs == 0
    assert ResNetConfig(init="none", freeze_epochs=2).frozen_epochs == 2


ALL_SETTLED = {"model", "mean", "std", "soft_labels_sha256"}
SETTLED = {
    "cnn": ALL_SETTLED,
    "capsnet": ALL_SETTLED | {"objective"},
    "resnet": ALL_SETTLED | {"schedule"},
    "dinov2": ALL_SETTLED | {"revision"},
}
"""Settings without an option: the model's own, or derived when the training starts."""


@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("command", ["train", "tune"])
def test_train_and_tune_offer_every_setting_with_the_configs_default(command: str, model: str):
    import typer

    from agecli.commands import train, tune

    app = typer.Typer()
    group = {"train": train.TrainCommands(), "tune": tune.TuneCommands()}[command]
    group.add_command_of(app, model)
    (added,) = app.registered_commands
    options = inspect.signature(added.callback).parameters
    offered = {field.name for field in fields(CONFIGS[model])} - SETTLED[model]
    if command == "tune":
        offered -= {"workers"}  # which are trainings at once, there
    assert offered < set(options) and not SETTLED[model] & set(options)
    for name in offered:
        assert options[name].default == CONFIGS[model].__dataclass_fields__[name].default, name


def test_the_words_under_a_field_are_its_help(cli):
    text = " ".join(cli("train", "dinov2", "--help", COLUMNS="200").stdout.replace("│", "").split())
    assert "--pool <cls|mean|cls+mean> Input of the head: [CLS] token" in text
    assert "Highest learning rate. [default: 0.001]" in text  # of the class that it extends
    assert "--image-size <int> Side of the model's input in pixels; 0 = the backbone's" in text
    assert "Learning-rate schedule" in text and "must not trigger" not in text
    assert "--amp " in text and "--no-amp" not in text
    assert "--lr RATE|auto" in cli("train", "resnet", "--help").stdout
    assert "--share / --no-share" in cli("train", "capsnet", "--help").stdout


@pytest.mark.parametrize(
    ("config", "fixed"),
    [
        (CnnConfig(init="runs/cnn"), {"objective"}),
        (CapsNetConfig(init="runs/capsnet"), {"primary_dim", "group_dim"}),
        (ResNetConfig(init="runs/resnet"), set()),  # whose body alone is taken
        (Dinov2Config(backbone="scratch:tiny", init="dinov2"), {"objective", "pool", "hidden"}),
        (Dinov2Config(backbone="scratch:tiny", teacher="cnn"), set()),  # who teaches any
    ],
)
def test_a_search_leaves_alone_what_the_given_weights_have_settled(config, fixed: set):
    plain = replace(config, init="none", teacher="")
    assert set(plain.space()) - set(config.space()) == fixed
