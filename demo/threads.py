"""Worker threads: few and always the same, since each keeps its own memory.

These are the face detector's and torch's buffers. Gradio calls functions in any of forty threads:
the server's memory grew with each new one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 2
"""Requests that are handled at the same time; the others wait."""

_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="work")


def submit(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Schedule a function in one of the threads."""
    return _pool.submit(function, *arguments)


def run(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in one of the threads, and wait for it; it must not call `run` itself."""
    return submit(function, *arguments).result()
