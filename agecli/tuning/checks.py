"""Check the trials in a study's storage before they are used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from msgspec import Meta
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import TrialState

from agecli.config import Value
from agecli.reading import convert

Count = Annotated[int, Meta(ge=0, le=10**9)]


class _Attributes(TypedDict, total=False):
    error: str
    """Why the trial failed."""
    first: Count
    """The trial that this one retries."""
    attempts: Count


class _System(TypedDict, total=False):
    fixed_params: dict[str, Value]
    """The settings it was queued with."""


@dataclass(frozen=True)
class _Trial:
    number: Count
    values: Annotated[list[float], Meta(max_length=1)] | None
    params: dict[str, Value]
    intermediate_values: dict[Count, float]
    user_attrs: _Attributes
    system_attrs: _System


def check_trials(study: Study, searched: Collection[str], *, minimises: bool) -> None:
    """Raise ValueError for another direction, or settings that are not searched."""
    wanted = StudyDirection.MINIMIZE if minimises else StudyDirection.MAXIMIZE
    if study.directions != [wanted]:
        raise ValueError(f"its direction is not {wanted.name}")
    for trial in study.get_trials(deepcopy=False):
        kept: dict[str, Any] = {name: getattr(trial, name) for name in _Trial.__annotations__}
        read = convert(kept, _Trial)
        named = read.params.keys() | read.system_attrs.get("fixed_params", {}).keys()
        if unknown := sorted(named - set(searched)):
            raise ValueError(f"trial {read.number} has a setting {unknown[0]!r}")
        whole = read.values and read.params.keys() == set(searched)
        if trial.state == TrialState.COMPLETE and (not whole or trial.duration is None):
            raise ValueError(f"trial {read.number} is incomplete")
