"""Mutated weights files: `predict` and `evaluate` answer by them, or say in a line why not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_text
from tests.fuzz.toys import Toys
from tests.fuzz.watch import run

BATCH = 1
OTHERS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"PK\x03\x04" + bytes(60), b"\x89HDF\r\n\x1a\n" + bytes(60), b"\x80\x02}q\x00.",
    b"<!DOCTYPE html><html></html>", b"",
    b"\x93NUMPY\x01\x00", b"{}", bytes(8), b"\xff" * 64,
)  # fmt: skip


def weights(seed: int, toys: Toys) -> tuple[str, bytes]:
    """Return a weights file's name and broken content."""
    rng = Random(f"weights {seed}")
    name, path = rng.choice(list(toys.weights.items()))
    kind = rng.random()
    if kind < 0.05:
        return name, rng.choice(OTHERS)
    data = path.read_bytes()
    if kind < 0.2:
        return name, mutate_bytes(rng, data)
    if path.suffix == ".onnx":
        return name, _onnx(rng, data)
    length = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    if kind < 0.4:
        own = header.pop("__metadata__")
        text = json.dumps({"__metadata__": own} | mutate_json(rng, header))
    else:
        own = header["__metadata__"]
        own["agecli"] = mutate_text(rng, own["agecli"])
        text = json.dumps(header)
    packed = text.encode()
    return name, len(packed).to_bytes(8, "little") + packed + tensors


def _onnx(rng: Random, data: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(data)
    entry = next(entry for entry in model.metadata_props if entry.key == "agecli")
    entry.value = mutate_text(rng, entry.value)
    return model.SerializeToString()


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Break a weights file per seed; yield what was wrong."""
    (folder / "face.png").write_bytes(toys.face)
    for seed in seeds:
        name, data = weights(seed, toys)
        path = folder / name
        path.write_bytes(data)
        outcome = run("predict", "face.png", "--crops", "--json", "--weights", name, cwd=folder)
        for complaint in outcome.complaints((0, 1, 2)):
            yield seed, f"predict: {complaint}"
        if outcome.code == 0:
            row = json.loads(outcome.out)
            chances = list(row["probabilities"].values())
            if not math.isclose(sum(chances), 1, abs_tol=1e-3) or min(chances) < 0:
                yield seed, f"predict: probabilities {chances}"
        elif name not in outcome.err:
            yield seed, f"predict: no word of {name}: {outcome.last_line}"
        if seed % 4 == 0:
            command = ("evaluate", name, "--data", toys.dataset, "--json", "--force")
            for complaint in run(*command, cwd=folder).complaints((0, 1, 2)):
                yield seed, f"evaluate: {complaint}"
        if seed % 4 == 1:
            command = ("export", name, "out.safetensors")
            for complaint in run(*command, cwd=folder).complaints((0, 1, 2)):
                yield seed, f"export: {complaint}"
            (folder / "out.safetensors").unlink(missing_ok=True)
        path.unlink()
