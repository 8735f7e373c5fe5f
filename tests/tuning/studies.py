"""A small study for tests: two settings, no training."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agecli.config import CnnConfig
from agecli.tuning.study import Spec, Study

SPACE: dict[str, Any] = {
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "augment": ["none", "light", "wild"],
}


def make_spec(**changes: Any) -> Spec:
    asked = {"epochs": 4, **changes.pop("asked", {})}
    spec = {
        "model": "cnn", "settings": asdict(CnnConfig(**asked)), "asked": asked, "space": SPACE,
        "metric": "val_exact", "pruner": "none", "split_hash": "",
    }  # fmt: skip
    return Spec(**(spec | changes))


def make_study(folder: Path, **changes: Any) -> Study:
    return Study.create(folder, "", make_spec(**changes))
