"""Count the calls by which a process changes files, and act at one of them."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path

CHANGES = ("replace", "rename", "mkdir", "unlink", "rmdir")


def at_change(number: int, act: Callable[[str], None], *, once: bool = True) -> None:
    """Act in front of the call of this number, from 0, that changes files; else at all from it on.

    Calls are those of `CHANGES`, and those that open a file to write. `act` receives the path, and
    may raise in its stead, or end the process. For this process alone, and for good.
    """
    left = number

    def counted(call: Callable[..., object], writes: Callable[..., bool]) -> Callable[..., object]:
        def instead(*arguments: object, **options: object) -> object:
            nonlocal left
            if writes(*arguments, **options):
                left -= 1
                if left == -1 or (left < -1 and not once):
                    act(str(arguments[0]))
            return call(*arguments, **options)

        return instead

    def opens(path: object, mode: str = "r", *_: object, **__: object) -> bool:
        return isinstance(path, str | Path) and any(letter in str(mode) for letter in "wax+")

    builtins.open = io.open = counted(builtins.open, opens)  # type: ignore[assignment]
    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))
