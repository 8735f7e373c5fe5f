"""Evaluate models on several data sets: how well they generalise from one to the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agecli.data.store import open_dataset
from agecli.errors import UsageError
from agecli.evaluation.names import data_names
from agecli.evaluation.suite import StageProgress, Suite, evaluate


def evaluate_each(
    *weights: Path | str,
    data: Sequence[Path | str],
    progress: StageProgress = lambda stage, done, total: None,
    **options: Any,
) -> dict[str, Suite]:
    """Score models on each of several data sets separately.

    data: folders of `agecli prepare`; options: those of `evaluate`. Returns a suite per data set,
    in order, by its name from `data_names`. All data sets are opened before any work.

    Raises what `evaluate` raises, UsageError for a data set given twice, and for several if a
    file is to store what was measured on one (--store, --fit-ensemble).
    """
    names = data_names(data)
    if len(names) == 1:
        return {names[0]: evaluate(*weights, data=data[0], progress=progress, **options)}
    if options.get("store"):
        raise UsageError("--store: a weights file stores figures on one data set: pass one --data")
    if options.get("fit"):
        raise UsageError("--fit-ensemble: it is fitted on one data set: pass one --data")
    for folder in data:
        open_dataset(Path(folder))

    def show(name: str, stage: str, done: int, total: int) -> None:
        progress(f"{stage} on {name}", done, total)

    return {
        name: evaluate(*weights, data=folder, progress=partial(show, name), **options)
        for name, folder in zip(names, data, strict=True)
    }
