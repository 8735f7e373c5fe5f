"""Names of models and data sets in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from agecli.errors import UsageError
from agecli.inference.fitted import ENSEMBLE
from agecli.weights import named_weights


def row_names(weights: Sequence[Path | str]) -> list[str]:
    """Return the names of a suite's rows: each model, and their ensemble."""
    return [*model_names(named_weights(*weights)), ENSEMBLE]


def model_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each weights file: its run's folder, or the file; numbered if equal."""
    return _number_alike(
        path.parent.resolve().name if path.name == "best.safetensors" else path.stem
        for path in paths
    )


def data_names(data: Sequence[Path | str]) -> list[str]:
    """Return the names of data sets in tables: their folders' names, numbered if equal.

    Raises UsageError for one that is given twice.
    """
    folders = [Path(folder).resolve() for folder in data]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            raise UsageError(f"--data: {data[number]} is given twice: leave one out")
    return _number_alike(folder.name for folder in folders)


def _number_alike(stems: Iterable[str]) -> list[str]:
    """Return unique names: a second "cnn" is "cnn-2"."""
    names: list[str] = []
    for stem in stems:
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
