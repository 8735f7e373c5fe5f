"""Search spaces: dimensions by the settings' names, and their TOML form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from agecli.errors import UsageError

Value = str | float | int | bool


@dataclass(frozen=True)
class Float:
    """A number between two others, optionally on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Int:
    """A whole number between two others, inclusive, optionally on a logarithmic scale."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]


Dimension = Float | Int | Choice
Space = dict[str, Dimension]


def read_space(entries: dict[str, Any], origin: str) -> tuple[Space, dict[str, Value]]:
    """Read a space from TOML: a dimension per table or list, and fixed values.

    Raises UsageError, with the origin's name, for an entry that is neither.
    """
    space: Space = {}
    fixed: dict[str, Value] = {}
    for name, entry in entries.items():
        if isinstance(entry, list) and entry and all(isinstance(v, Value) for v in entry):
            space[name] = Choice(tuple(entry))
        elif isinstance(entry, dict):
            space[name] = _read_range(name, entry, origin)
        elif isinstance(entry, Value):
            fixed[name] = entry
        else:
            raise UsageError(f"{origin}: {name} is not a value, list of values or range")
    return space, fixed


def _read_range(name: str, entry: dict[str, Any], origin: str) -> Dimension:
    low, high, log = entry.get("low"), entry.get("high"), entry.get("log", False)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not isinstance(log, bool) or set(entry) - {"low", "high", "log"}:
        raise UsageError(f"{origin}: a range is {name} = {{ low = 1, high = 10, log = true }}")
    assert low is not None and high is not None
    if not (isfinite(low) and isfinite(high)):
        raise UsageError(f"{origin}: {name} has an unbounded range")
    if low > high or (log and low <= 0):
        raise UsageError(f"{origin}: {name} has no range from {low} to {high}" + log * " with log")
    if isinstance(low, int) and isinstance(high, int):
        return Int(low, high, log)
    return Float(float(low), float(high), log)


def write_toml(entries: dict[str, Any]) -> str:
    """Write settings, or a space, as lines of TOML."""
    return "".join(f"{name} = {_toml(entry)}\n" for name, entry in entries.items())


def _toml(entry: Any) -> str:
    if isinstance(entry, Float | Int):
        return f"{{ low = {entry.low!r}, high = {entry.high!r}{', log = true' * entry.log} }}"
    if isinstance(entry, Choice | tuple | list):
        values = entry.values if isinstance(entry, Choice) else entry
        return f"[{', '.join(map(_toml, values))}]"
    return json.dumps(entry)  # TOML writes strings, numbers and booleans like JSON
