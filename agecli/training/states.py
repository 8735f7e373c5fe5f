"""A run's state is put back only where it has the form of what it is put into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agecli.errors import TrainingError, brief

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps for each weight, beside the count of its steps."""


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn whatever a state stumbles over that does not fit its run into one line."""
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:  # of torch, fastai and accelerate: of any kind
        reason = brief(error if isinstance(error, ValueError) else repr(error))
        raise TrainingError(
            f"{path} does not fit its run ({reason}): put the right one back, or start a new run"
        ) from error


def check_form(state: Any, like: Any, name: str = "state") -> None:
    """Raise ValueError where a state is not of another one's form: keys, lengths, types, shapes.

    Numbers and None may stand for each other, as in a schedule that has seen no loss yet.
    """
    if isinstance(like, dict):
        if not isinstance(state, dict) or state.keys() != like.keys():
            raise ValueError(f"{name} has other parts")
        for key, value in like.items():
            check_form(state[key], value, f"{name}.{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(state, list | tuple) or len(state) != len(like):
            raise ValueError(f"{name} has another length")
        for number, (own, other) in enumerate(zip(state, like, strict=True)):
            check_form(own, other, f"{name}.{number}")
    elif isinstance(like, Tensor):
        if not isinstance(state, Tensor) or (state.shape, state.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{name} has another shape or type")
    elif like is None or (isinstance(like, int | float) and not isinstance(like, bool)):
        if not (state is None or isinstance(state, int | float)):
            raise ValueError(f"{name} is no number")
    elif type(state) is not type(like):
        raise ValueError(f"{name} has another type")


def check_steps(schedule: dict[str, Any], left: int) -> None:
    """Raise ValueError for a one-cycle's state that ends before the steps that are left."""
    if schedule["last_epoch"] + left > schedule.get("total_steps", float("inf")):
        raise ValueError(f"schedule ends before the {left} steps that are left")


def check_optimizer(state: Any, optimizer: Any) -> None:
    """Raise ValueError where a state is not one of this AdamW, which may not have taken a step."""
    own = optimizer.state_dict()
    check_form(state, own | {"state": state["state"]}, "optimizer")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, kept in state["state"].items():
        like = {name: weights[index] for name in MOMENTS} | {
            "step": torch.zeros((), dtype=torch.float32)
        }
        check_form(kept, like, f"optimizer.{index}")
