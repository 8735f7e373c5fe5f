"""Check a run's state before it is restored: it has to have the form of what it replaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agecli.errors import TrainingError, brief

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of each weight, beside its step count."""


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn any error of restoring a state that does not fit its run into one line."""
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:  # from torch, fastai and accelerate: of any kind
        reason = brief(error if isinstance(error, ValueError) else repr(error))
        raise TrainingError(
            f"{path} does not fit its run ({reason}): restore the right one, or start a new run"
        ) from error


def check_form(state: Any, like: Any, name: str = "state") -> None:
    """Raise ValueError if a state's keys, lengths, types or shapes differ from another's.

    A number may stand for None and vice versa, as in a schedule that has seen no loss yet.
    """
    if isinstance(like, dict):
        if not isinstance(state, dict) or state.keys() != like.keys():
            raise ValueError(f"{name} has different keys")
        for key, value in like.items():
            check_form(state[key], value, f"{name}.{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(state, list | tuple) or len(state) != len(like):
            raise ValueError(f"{name} has a different length")
        for number, (own, other) in enumerate(zip(state, like, strict=True)):
            check_form(own, other, f"{name}.{number}")
    elif isinstance(like, Tensor):
        if not isinstance(state, Tensor) or (state.shape, state.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{name} has a different shape or type")
    elif like is None or (isinstance(like, int | float) and not isinstance(like, bool)):
        if not (state is None or isinstance(state, int | float)):
            raise ValueError(f"{name} is not finite")
    elif type(state) is not type(like):
        raise ValueError(f"{name} has a different type")


def check_steps(schedule: dict[str, Any], left: int) -> None:
    """Raise ValueError for a one-cycle schedule that ends before the remaining steps."""
    if schedule["last_epoch"] + left > schedule.get("total_steps", float("inf")):
        raise ValueError(f"schedule ends before the {left} remaining steps")


def check_optimizer(state: Any, optimizer: Any) -> None:
    """Raise ValueError for a state that is not this AdamW's, before or after its first step."""
    own = optimizer.state_dict()
    check_form(state, own | {"state": state["state"]}, "optimizer")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, kept in state["state"].items():
        like = {name: weights[index] for name in MOMENTS} | {
            "step": torch.zeros((), dtype=torch.float32)
        }
        check_form(kept, like, f"optimizer.{index}")
