"""The threads that do the work: few and always the same, for each keeps memory of its own.

That is the face detector's and torch's buffers. Gradio calls a function in any of forty threads:
the server's memory grew with each that was new.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 2
"""Requests that are answered at the same time; the others wait."""

_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="work")


def submit(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Have a function called in one of the threads, when its turn comes."""
    return _pool.submit(function, *arguments)


def run(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in one of the threads, and wait for it; it must not call `run` itself."""
    return submit(function, *arguments).result()
