"""Memory of the process: keeping it, measuring it, and recognising its exhaustion."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SIGNS = (
    "failed to map segment", "can't allocate memory", "cannot allocate memory", "bad_alloc",
    "can't start new thread", "insufficient memory",
)  # fmt: skip
"""Messages of the loader, torch, the C library, C++, Python and OpenCV without memory."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


@cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step instead of returning it to the kernel.

    Activations are large, so each would be mapped again and zeroed page by page in every step:
    over a third of a CPU step at 128 px. Done once; only with glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def memory_in_use(device: torch.device) -> int:
    """Return the peak bytes allocated on a CUDA device, or else the bytes the process holds."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss


def memory_available() -> int:
    """Return the bytes of main memory available without swapping."""
    import psutil

    return psutil.virtual_memory().available


def limit_memory(budget: int) -> None:
    """Make CUDA's allocator fail beyond a budget of bytes (0: none); reset its peak.

    A tenth of the budget is left for CUDA's context, which the allocator does not count.
    """
    import torch

    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    share = min(1.0, 0.9 * budget / total) if budget else 1.0
    torch.cuda.set_per_process_memory_fraction(share)
    torch.cuda.reset_peak_memory_stats()


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of torch means that the device is out of memory."""
    from accelerate.utils.memory import should_reduce_batch_size

    # Messages of cuDNN and cuBLAS without memory for their workspaces.
    workspace = ("ALLOC_FAILED", "unable to find an engine")
    return should_reduce_batch_size(error) or any(text in str(error) for text in workspace)


def lacks_main_memory(error: BaseException | None) -> bool:
    """Return whether an error is caused by too little main memory, even for loading a library."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def clear_device_cache() -> None:
    """Free the device's memory of tensors that nothing refers to."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


def gigabytes(count: int) -> str:
    """Format a number of bytes in GB, or in MB below one."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
