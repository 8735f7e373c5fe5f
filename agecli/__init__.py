"""Tell the age group from a face picture.

`from agecli import Predictor` is the Python API; it is loaded on first use, so that
`import agecli` itself costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agecli.errors import AgecliError as AgecliError
    from agecli.exporting.export import export as export
    from agecli.inference.predictor import Prediction as Prediction
    from agecli.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["AgecliError", "Prediction", "Predictor", "__version__", "export"]

_HOMES = {
    "AgecliError": "agecli.errors",
    "Prediction": "agecli.inference.predictor",
    "Predictor": "agecli.inference.predictor",
    "export": "agecli.exporting.export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'agecli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
