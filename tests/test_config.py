"""The defaults and their checks."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from agecli.config import PrepareConfig, TrainConfig
from agecli.errors import UsageError


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", float("nan")), ("lr", -1.0), ("dropout", 1.0), ("ema", 1.0),
     ("objective", "fame"), ("schedule", "step"), ("balance", "half"), ("device", "tpu")],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_flag(field: str, value: object):
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')}"):
        TrainConfig(**{field: value})


def test_a_configuration_survives_json():
    config = TrainConfig(lr=0.5, objective="groups")
    assert TrainConfig.from_dict(asdict(config)) == config


def test_prepare_checks_its_scheme():
    with pytest.raises(UsageError, match="--scheme"):
        PrepareConfig(scheme="old,young")


def test_train_cnn_offers_every_setting_with_the_configs_default():
    import inspect

    from agecli.commands.train_pytorch import cnn

    options = inspect.signature(cnn).parameters
    for field in fields(TrainConfig):
        if field.name == "model":
            continue
        default = options[field.name].default
        default = str(default) if isinstance(default, Path) else default
        assert default == field.default, field.name
