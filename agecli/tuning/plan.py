"""Plan a search: its space, its fixed settings, and the study to start or continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agecli import distributed
from agecli.config import (
    BEST,
    PLACE,
    Choice,
    Dimension,
    Settings,
    Space,
    TrainConfig,
    check_names,
    flag_of,
    read_space,
    read_table,
)  # fmt: skip
from agecli.data.store import open_for
from agecli.errors import UsageError
from agecli.training.train import settle
from agecli.tuning.study import Spec, Study

CHANGES_LOSS = ("objective", "label_width")
"""Settings that change the definition of the validation loss, which then cannot be compared."""


def choose_space(
    kind: type[TrainConfig], asked: Settings, file: Path | None, metric: str
) -> tuple[Space, Settings]:
    """Return the settings to search (of the model or a file) and the fixed ones (options or file).

    Raises UsageError for a file with unknown settings or invalid values.
    """
    if file is None:
        left_out = CHANGES_LOSS if metric == "val_loss" else ()
        whole = kind(**asked).space().items()
        return {n: d for n, d in whole if n not in asked and n not in left_out}, asked
    space, fixed = read_space(read_table(file), str(file))
    check_names(space | fixed, kind, str(file))
    if twice := sorted((space | fixed).keys() & asked.keys()):
        raise UsageError(f"{flag_of(twice[0])} is in {file} as well: pass it once")
    if metric == "val_loss" and (unfit := sorted(space.keys() & set(CHANGES_LOSS))):
        raise UsageError(
            f"{file}: validation losses with different {unfit[0]} cannot be compared: search it "
            "with --metric val_exact"
        )
    try:
        base = kind(**(asked | fixed))
        for name, dimension in space.items():
            for value in _ends(dimension):
                replace(base, **{name: value})
    except UsageError as error:
        raise UsageError(f"{file}: {str(error).removeprefix('--')}") from error
    return space, asked | fixed


def open_study(
    folder: Path, url: str, kind: type[TrainConfig], asked: Settings, goals: Settings,
    file: Path | None, announce: Callable[[str], None],
) -> Study:  # fmt: skip
    """Open the study in a folder, or create it with the requested search.

    goals: metric and pruner, if given. Raises UsageError if the existing study
    searches something else.
    """
    if distributed.world() > 1:
        raise UsageError("`agecli tune` starts its own --workers: run it without a launcher")
    study = Study.open(folder, url)
    if study is not None:
        _check_same(study, kind, asked, goals, file)
        return study
    if (folder / BEST).exists():
        raise UsageError(f"{folder} is a study on a database: pass its --storage")
    whole: Settings = {"metric": "val_exact", "pruner": "hyperband"} | goals
    space, asked = choose_space(kind, asked, file, whole["metric"])
    if not space:
        raise UsageError("nothing is left to search: every setting of the space is fixed")
    base = kind(**asked)
    dataset = open_for(base)
    base = settle(base, announce)
    spec = Spec(
        model=base.model, settings=asdict(base), asked=asked,
        space={name: _plain(dimension) for name, dimension in space.items()},
        split_hash=dataset.split_hash, **whole,
    )  # fmt: skip
    return Study.create(folder, url, spec)


def _check_same(
    study: Study, kind: type[TrainConfig], asked: Settings, goals: Settings,
    file: Path | None,
) -> None:  # fmt: skip
    spec = study.spec
    way_on = "use the same value, or another --study"
    if spec.model != kind.model:
        raise UsageError(f"{study.folder} is a study of the {spec.model}: {way_on}")
    known = spec.settings | spec.asked | {"metric": spec.metric, "pruner": spec.pruner}
    for name, value in (asked | goals).items():
        if name in spec.space:
            raise UsageError(f"{study.folder} searches {flag_of(name)}: leave it out, or {way_on}")
        if name not in PLACE and value != known[name]:
            raise UsageError(
                f"{study.folder} was started with {flag_of(name)} {known[name]}, not {value}: "
                + way_on
            )
    if file and read_space(read_table(file), str(file))[0] != spec.dimensions:
        raise UsageError(f"{study.folder} was started with another space than {file}: {way_on}")


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def _plain(dimension: Dimension) -> Any:
    """Return a dimension as TOML values."""
    return list(dimension.values) if isinstance(dimension, Choice) else asdict(dimension)
