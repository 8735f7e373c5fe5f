"""Shell completion of models, weights, runs, studies and data sets, by the contents of folders.

Without a match, the shell completes file names.
"""

from __future__ import annotations

from collections.abc import Iterable
from glob import escape, glob
from pathlib import Path

from agecli.config import BEST
from agecli.guide import PAGES
from agecli.registry import MODELS


def models(incomplete: str) -> list[str]:
    """Complete the models of `predict --model`."""
    return _fitting(incomplete, [*MODELS, "all"])


def weights(incomplete: str) -> list[str]:
    """Complete released models by name, runs with weights, and weights files."""
    files = _glob("weights", "*.safetensors", incomplete) + _glob("weights", "*.onnx", incomplete)
    runs = _folders("runs", "best.safetensors", incomplete)
    return _fitting(incomplete, [*MODELS, *runs, *files])


def runs(incomplete: str) -> list[str]:
    """Complete run folders of `agecli train`."""
    return _folders("runs", "config.json", incomplete)


def studies(incomplete: str) -> list[str]:
    """Complete study folders of `agecli tune` with a finished trial."""
    return _folders("studies", BEST, incomplete)


def datasets(incomplete: str) -> list[str]:
    """Complete data sets of `agecli prepare`."""
    return _folders("data", "receipt.json", incomplete)


def pages(incomplete: str) -> list[str]:
    """Complete the pages of the guide."""
    return _fitting(incomplete, PAGES)


SETTINGS = {"data": datasets, "init": weights, "teacher": weights}
"""Completions of training settings."""


def _folders(usual: str, file: str, incomplete: str) -> list[str]:
    """List the folders that contain a file."""
    found = _glob(usual, f"*/{file}", incomplete)
    return _fitting(incomplete, (str(Path(path).parent) for path in found))


def _glob(usual: str, pattern: str, incomplete: str) -> list[str]:
    """List files by a pattern, in their usual folder and below the typed word."""
    places = f"{usual}/", escape(incomplete)
    return [path for place in places for path in sorted(glob(place + pattern))]  # noqa: PTH207


def _fitting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
