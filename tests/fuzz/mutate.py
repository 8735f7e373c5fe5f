"""Mutations of bytes and of JSON, by a random generator of a fixed seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

MAGIC = (0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def flip(rng: Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def remove(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 4, 64, 1000))]


def insert(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.choice((1, 4, 64, 1000)))


def repeat(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((4, 64, 1000))] * rng.choice((1, 3, 50))


def put_number(rng: Random, data: bytearray) -> None:
    """Write a number at an edge of its range over some bytes, most often near the beginning."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    start = rng.randrange(min(len(data), rng.choice((64, 1024, len(data)))))
    number = rng.choice(MAGIC) % (1 << 8 * width)
    data[start : start + width] = number.to_bytes(width, order)


def blank(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((4, 64, 4096)))
    data[start:end] = bytes([rng.choice((0, 0xFF, 0x20))]) * (end - start)


BYTES: tuple[Callable[[Random, bytearray], None], ...] = (
    flip, cut, remove, insert, repeat, put_number, blank,
)  # fmt: skip


def mutate_bytes(rng: Random, data: bytes) -> bytes:
    """Return the bytes after one to three mutations."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if changed:
            rng.choice(BYTES)(rng, changed)
    return bytes(changed)


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 96, 20_000, 10**7, 10**9, 2**31, 2**63, 10**30, 0.0, -1.5, 0.5,
    1e308, float("nan"), float("inf"), -float("inf"), "", "x", "96", "0-2", "none", "..", "/", "\0",
    "ü" * 300, [], [None], [1, 2], [[]], ["0-2"], ["0-2", "0-2"], ["a"] * 2000, {}, {"a": 1},
    {"": None}, _deep(50),
)  # fmt: skip
"""Values that are of another type, or at an edge of what is possible."""


def mutate_json(rng: Random, content: Any) -> Any:
    """Return JSON content with one to three of its values replaced, removed, renamed or added."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            return _odd(rng)
        parent, key = rng.choice(places)
        action = rng.random()
        if action < 0.7:
            parent[key] = _odd(rng)
        elif action < 0.85:
            del parent[key]
        elif isinstance(parent, dict):
            parent[rng.choice(("x", "", "format", key + "_"))] = parent.pop(key)
        else:
            parent.insert(key, _odd(rng))
    return content


def _odd(rng: Random) -> Any:
    """Draw a value of ODD: a copy, or a list might come to hold itself."""
    return deepcopy(rng.choice(ODD))


def mutate_text(rng: Random, text: str) -> str:
    """Return a JSON text after a mutation of its values, or (one in five) of its characters."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, text.encode()).decode(errors="replace")
    if rng.random() < 0.03:
        return "[" * 100_000
    return json.dumps(mutate_json(rng, json.loads(text)))


def _places(content: Any) -> Any:
    """Yield all (container, key) of a JSON value."""
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from _places(content[key])
