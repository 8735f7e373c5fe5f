"""The processes of a launch (torchrun, accelerate launch): which one this is, and what they share.

Without a launcher there is one process, and everything here does nothing. The first process reads
and writes all files of a run and alone talks to the user; the others need no shared file system.
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
"""What every launcher sets in the environment of its processes."""
LOCAL = ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
WAY_ON = (
    "start it by torchrun or accelerate launch, or without (`unset WORLD_SIZE RANK LOCAL_RANK`)"
)

LONGEST_WAIT = timedelta(days=7)
"""How long processes wait for one that works alone. One that ends is noticed at once."""


def check_launch() -> None:
    """Raise UsageError where the environment tells of a launch by half or in words.

    What is set to nothing is taken away, since torch and accelerate would stumble over it.
    """
    for name in (*LAUNCH, *LOCAL):
        value = os.environ.get(name)
        if value == "":
            del os.environ[name]
        elif value and name != "MASTER_ADDR" and not value.isdecimal():
            raise UsageError(f"{name} is {value!r} in the environment, and no number: {WAY_ON}")
    size = os.environ.get("WORLD_SIZE", "1")
    missing = [name for name in LAUNCH if name not in os.environ]
    if int(size) != 1 and missing:
        raise UsageError(f"WORLD_SIZE is {size} in the environment, without {missing[0]}: {WAY_ON}")


def rank() -> int:
    """Return this process's number among all, from 0."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def world() -> int:
    """Count the processes, on all machines; one where the environment tells of no whole launch."""
    size = os.environ.get("WORLD_SIZE", "")
    return int(size) if size.isdecimal() and all(map(os.environ.get, LAUNCH)) else 1


def local_rank() -> int:
    """Return this process's number among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def local_world() -> int:
    """Count the processes of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


def is_main() -> bool:
    """Return whether this is the first process."""
    return rank() == 0


def join() -> None:
    """Connect to the other processes, once: over gloo for the CPU, over NCCL for CUDA."""
    if world() > 1:
        _control()


def leave() -> None:
    """Disconnect from the other processes."""
    if _control.cache_info().currsize:
        import torch.distributed

        _control.cache_clear()
        torch.distributed.destroy_process_group()


def is_loss(error: Exception) -> bool:
    """Return whether an error of torch means that another process has ended, which says why."""
    return world() > 1 and "gloo/transport" in str(error)


def broadcast(value: T) -> T:
    """Return to all processes the first one's value, any that pickles."""
    if world() == 1:
        return value
    import torch.distributed

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0, group=_control())
    return values[0]


def gather(value: T) -> list[T]:
    """Return to all processes the values of all, in their order."""
    if world() == 1:
        return [value]
    import torch.distributed

    values: list[Any] = [None] * world()
    torch.distributed.all_gather_object(values, value, group=_control())
    return values


def mean(value: float) -> float:
    """Return to all processes the mean of their values."""
    return sum(gather(value)) / world()


def from_main(make: Callable[[], T]) -> T:
    """Call a function in the first process alone, and give its result to all, who wait for it."""
    return broadcast(make() if is_main() else None)  # type: ignore[return-value]


def main_first(make: Callable[[], T]) -> T:
    """Call a function in the first process, and then in the others: they find what it fetched."""
    if not is_main():
        broadcast(None)
        return make()
    made = make()
    broadcast(None)
    return made


def gather_tensor(tensor: Tensor) -> Tensor:
    """Stack the processes' tensors of one shape, on their devices: (world, ...). No gradient."""
    import torch

    if world() == 1:
        return tensor.detach()[None]
    parts = [torch.empty_like(tensor) for _ in range(world())]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    return torch.stack(parts)


@lru_cache(maxsize=1)
def _control() -> Any:
    """Connect, and give the group by which objects are sent: on the CPU, and waiting for long.

    Gradients go by the default group, whose waiting is short: there nobody works alone.
    """
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        )
    return distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
