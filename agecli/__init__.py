"""Predict the age group of faces.

Each command has a function of the same name here, which prints nothing. It is loaded on
first use, so that `import agecli` itself is fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agecli.data.prepare import prepare as prepare
    from agecli.errors import AgecliError as AgecliError
    from agecli.evaluation.suite import evaluate as evaluate
    from agecli.exporting.export import export as export
    from agecli.health import doctor as doctor
    from agecli.inference.prediction import Prediction as Prediction
    from agecli.inference.predictor import Predictor as Predictor
    from agecli.training.train import resume as resume
    from agecli.training.train import train as train
    from agecli.tuning.tune import tune as tune

__version__ = "0.2.0"

_HOMES = {
    "AgecliError": "agecli.errors",
    "Prediction": "agecli.inference.prediction",
    "Predictor": "agecli.inference.predictor",
    "doctor": "agecli.health",
    "evaluate": "agecli.evaluation.suite",
    "export": "agecli.exporting.export",
    "prepare": "agecli.data.prepare",
    "resume": "agecli.training.train",
    "train": "agecli.training.train",
    "tune": "agecli.tuning.tune",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'agecli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
