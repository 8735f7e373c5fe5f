"""The processes of a launch (torchrun, accelerate launch): their ranks, and exchanging values.

Without a launcher there is one process, and everything here does nothing. The first process reads
and writes all files of a run, and only it prints; the others need no shared file system.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from agecli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

LAUNCH = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that every launcher sets for its processes."""
LOCAL = ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
WAY_ON = (
    "start it with torchrun or accelerate launch, or without (`unset WORLD_SIZE RANK LOCAL_RANK`)"
)

LONGEST_WAIT = timedelta(days=7)
"""How long processes wait for one that works alone. One that dies is noticed at once."""


def check_launch() -> None:
    """Raise UsageError for an incomplete or invalid launch in the environment.

    Empty variables are removed, since torch and accelerate would fail on them.
    """
    for name in (*LAUNCH, *LOCAL):
        value = os.environ.get(name)
        if value == "":
            del os.environ[name]
        elif value and name != "MASTER_ADDR" and not value.isdecimal():
            raise UsageError(f"{name} is {value!r} in the environment, not a number: {WAY_ON}")
    size = os.environ.get("WORLD_SIZE", "1")
    missing = [name for name in LAUNCH if name not in os.environ]
    if int(size) != 1 and missing:
        raise UsageError(f"WORLD_SIZE is {size} in the environment, without {missing[0]}: {WAY_ON}")


def rank() -> int:
    """Return this process's number among all, from 0."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def world() -> int:
    """Return the number of processes on all machines; 1 without a launch in the environment."""
    size = os.environ.get("WORLD_SIZE", "")
    return int(size) if size.isdecimal() and all(map(os.environ.get, LAUNCH)) else 1


def local_rank() -> int:
    """Return this process's number among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def local_world() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


def is_main() -> bool:
    """Return whether this is the first process."""
    return rank() == 0


def join() -> None:
    """Connect to the other processes, once: by gloo for the CPU, by NCCL for CUDA."""
    if world() > 1:
        _control()


def leave() -> None:
    """Disconnect from the other processes."""
    if _control.cache_info().currsize:
        import torch.distributed

        _control.cache_clear()
        torch.distributed.destroy_process_group()


def is_loss(error: Exception) -> bool:
    """Return whether an error of torch means that another process has ended, which reports why."""
    return world() > 1 and "gloo/transport" in str(error)


def broadcast(value: T) -> T:
    """Return the first process's value, which has to be picklable, to all."""
    if world() == 1:
        return value
    import torch.distributed

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0, group=_control())
    return values[0]


def gather(value: T) -> list[T]:
    """Return the values of all processes, in order of rank, to all."""
    if world() == 1:
        return [value]
    import torch.distributed

    values: list[Any] = [None] * world()
    torch.distributed.all_gather_object(values, value, group=_control())
    return values


def mean(value: float) -> float:
    """Return the mean of all processes' values to all."""
    return sum(gather(value)) / world()


def from_main(make: Callable[[], T]) -> T:
    """Call a function only in the first process, and return its result to all, which wait."""
    return broadcast(make() if is_main() else None)  # type: ignore[return-value]


def main_first(make: Callable[[], T]) -> T:
    """Call a function in the first process, then in the others, which find what it downloaded."""
    if not is_main():
        broadcast(None)
        return make()
    made = make()
    broadcast(None)
    return made


def gather_tensor(tensor: Tensor) -> Tensor:
    """Stack the processes' tensors of equal shape, on their devices: (world, ...). No gradient."""
    import torch

    if world() == 1:
        return tensor.detach()[None]
    parts = [torch.empty_like(tensor) for _ in range(world())]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    return torch.stack(parts)


@lru_cache(maxsize=1)
def _control() -> Any:
    """Connect, and return the group that exchanges objects: on the CPU, with a long timeout.

    Gradients use the default group, with a short timeout: there no process works alone.
    """
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        )
    return distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
