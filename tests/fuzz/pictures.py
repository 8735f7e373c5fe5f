"""Mutated pictures: a row for each, in one `predict` of their folder and one `prepare`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.mutate import mutate_bytes
from tests.fuzz.toys import Toys
from tests.fuzz.watch import run

BATCH = 250
PER_PICTURE = 0.5
"""Seconds that a picture of a batch may take, with all that looks at it."""


def picture(seed: int, toys: Toys) -> tuple[str, bytes]:
    """Return a picture's file name, which has a label as UTKFace's, and its broken content."""
    rng = Random(f"pictures {seed}")
    name, data = rng.choice(list(toys.pictures.items()))
    other_name, other = rng.choice(list(toys.pictures.items()))
    kind = rng.random()
    if kind < 0.05:  # one's head on another's body
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    elif kind < 0.07:
        data = rng.randbytes(rng.choice((0, 1, 10, 5000)))
    else:
        data = mutate_bytes(rng, data)
    if rng.random() < 0.1:
        name = other_name
    return f"25_0_0_2017{seed:013d}{Path(name).suffix}", data


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Break a picture per seed; yield what was wrong, with its seed where it is known."""
    source = folder / "pictures"
    source.mkdir()
    names = {}
    for seed in seeds:
        name, data = picture(seed, toys)
        names[name] = seed
        (source / name).write_bytes(data)
    (source / "25_0_0_20160000000000000.jpg").write_bytes(toys.pictures["a.jpg"])  # one is whole
    limit = 60 + PER_PICTURE * len(names)

    outcome = run("predict", "pictures", "--json", "--workers", 2, cwd=folder, limit=limit)
    for complaint in outcome.complaints((0, 3), limit):
        yield None, f"predict: {complaint}"
    try:
        rows = [json.loads(line) for line in outcome.out.splitlines()]
    except ValueError as error:
        yield None, f"predict: no JSON: {error}"
        rows = []
    seen = Counter(Path(row["source"]).name for row in rows)
    answers = {Path(row["source"]).name: row["status"] for row in rows}
    for name, seed in names.items():
        if not seen[name]:
            yield seed, "predict: no row"
        elif answers[name] not in ("ok", "no_face", "unreadable"):
            yield seed, f"predict: status {answers[name]}"
    order = [Path(row["source"]).name for row in rows]
    if order != sorted(order):
        yield None, "predict: rows out of order"
    for line in outcome.err.splitlines():  # libraries' own words
        if any(mark in line for mark in ("libpng", "TIFF", "Warning", "[ WARN", "libav", "jpeg")):
            yield None, f"predict: a library's line: {line[:150]}"

    command = ("prepare", "pictures", "data", "--size", 32, "--workers", 2, "--json")
    outcome = run(*command, cwd=folder, limit=limit)
    for complaint in outcome.complaints((0,), limit):
        yield None, f"prepare: {complaint}"
    if outcome.code == 0:
        receipt = json.loads(outcome.out)
        if receipt["images"] != len(names) + 1:
            yield None, f"prepare: {receipt['images']} of {len(names) + 1} pictures in the receipt"
        manifest = (folder / "data" / "manifest.csv").read_text()
        for name, seed in names.items():
            if name not in manifest:
                yield seed, "prepare: no row"
