"""Mutated runs, data sets, settings and studies: a command continues, or says in a line why not."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutate import ODD, mutate_bytes, mutate_text
from tests.fuzz.toys import TRAIN, Toys
from tests.fuzz.watch import Outcome, run

BATCH = 1
TOML = """
lr = 0.002
epochs = 1
image_size = 32
batch_size = 32
dropout = 0.1
objective = "both"
amp = false
workers = 1
"""
SPACE = """
[lr]
low = 0.001
high = 0.01
log = true

[dropout]
low = 0.0
high = 0.5
"""


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Break a file of a run, data set, study or settings per seed; yield what was wrong."""
    for seed in seeds:
        rng = Random(f"states {seed}")
        what = rng.choice(list(STATES))
        named, outcome, must_fail = STATES[what](rng, toys, folder)
        for complaint in outcome.complaints((0, 1, 2), 60):
            yield seed, f"{what}: {complaint}"
        if must_fail and outcome.code == 0:
            yield seed, f"{what}: taken in silence: {must_fail}"
        if outcome.code and named not in outcome.err:
            yield seed, f"{what}: no word of {named}: {outcome.last_line}"
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


State = Callable[[Random, Toys, Path], tuple[str, Outcome, str]]
"""Breaks something and uses it: what an error has to name, how it went, why it had to fail."""


def _resumed(toys: Toys, folder: Path, change: Callable[[Path], None]) -> Outcome:
    run_folder = toys.copy(toys.run, folder)
    change(run_folder)
    return run("train", "cnn", "--resume", "run", "--json", cwd=folder, limit=60)


def _config(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    def change(broken: Path) -> None:
        path = broken / "config.json"
        path.write_text(mutate_text(rng, path.read_text()))

    return "", _resumed(toys, folder, change), ""


def _metrics(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    def change(broken: Path) -> None:
        path = broken / "metrics.jsonl"
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))

    return "", _resumed(toys, folder, change), ""


def _state(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    def change(broken: Path) -> None:
        import torch

        path = broken / "last" / "state.pt"
        if rng.random() < 0.4:
            path.write_bytes(mutate_bytes(rng, path.read_bytes()))
            return
        state = torch.load(path, weights_only=True)
        torch.save(_mutate_state(rng, state), path)

    return "run", _resumed(toys, folder, change), ""


def _mutate_state(rng: Random, state: dict[str, Any]) -> Any:
    """Replace or remove something of a state, at any depth."""
    import torch

    if rng.random() < 0.1:
        return rng.choice(ODD)
    parent: Any = state
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = rng.choice(keys)
        inside = parent[key]
        if rng.random() < 0.6 and isinstance(inside, dict | list) and len(inside):
            parent = inside
            continue
        action = rng.random()
        if action < 0.3:
            del parent[key]
        elif action < 0.6 and isinstance(inside, torch.Tensor):
            others = (inside[None], inside.double(), torch.zeros(3), inside.flatten()[:1])
            parent[key] = rng.choice(others)
        else:
            parent[key] = rng.choice(ODD)
        return state


def _evaluated(toys: Toys, folder: Path, change: Callable[[Path], None]) -> Outcome:
    change(toys.copy(toys.dataset, folder))
    best = toys.run / "best.safetensors"
    return run("evaluate", best, "--data", "data", "--json", "--force", cwd=folder)


def _receipt(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    def change(broken: Path) -> None:
        path = broken / "receipt.json"
        path.write_text(mutate_text(rng, path.read_text()))

    return "data", _evaluated(toys, folder, change), ""


def _manifest(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    said = ""

    def change(broken: Path) -> None:
        nonlocal said
        path = broken / "manifest.csv"
        before = path.read_text()
        if rng.random() < 0.3:
            path.write_bytes(mutate_bytes(rng, before.encode()))
        else:
            header, *rows = (line.split(",") for line in before.splitlines())
            _mutate_rows(rng, rows)
            path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
        if path.read_text(errors="replace") != before:
            said = "another manifest"

    outcome = _evaluated(toys, folder, change)
    return "data", outcome, said


def _mutate_rows(rng: Random, rows: list[list[str]]) -> None:
    action = rng.randrange(5)
    if action == 0:
        rows.reverse()
    elif action == 1:
        i, j = rng.sample(range(len(rows)), 2)
        rows[i], rows[j] = rows[j], rows[i]
    elif action == 2:
        del rows[rng.randrange(len(rows))]
    elif action == 3:
        row = rng.choice(rows)
        row[7] = rng.choice(("train", "val", "test", "", "x"))
    else:
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = str(rng.choice(ODD[:28]))


def _images(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    import numpy as np

    def change(broken: Path) -> None:
        path = broken / "images.npy"
        images = np.load(path)
        kind = rng.randrange(9)
        if kind == 0:
            data = bytearray(path.read_bytes())
            data[:128] = mutate_bytes(rng, bytes(data[:128]))
            path.write_bytes(data)
            return
        if kind == 1:
            path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
            return
        others = (
            images[..., :1], images.astype(np.int8), images.astype(np.float32), images[:-1],
            np.asfortranarray(images), images[:, :, :-1], images.astype(object)[:2],
        )  # fmt: skip
        buffer = io.BytesIO()
        np.save(buffer, others[kind - 2], allow_pickle=True)
        path.write_bytes(buffer.getvalue())

    return "data", _evaluated(toys, folder, change), ""


def _toml(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    if rng.random() < 0.3:
        (folder / "space.toml").write_bytes(_mutate_toml(rng, SPACE))
        command = ("tune", "cnn", "--space", "space.toml", "--show-space")
        return "", run(*command, cwd=folder), ""
    (folder / "own.toml").write_bytes(_mutate_toml(rng, TOML))
    command = ("train", "cnn", "--data", str(toys.dataset), "--config", "own.toml", "--show-config")
    return "", run(*command, cwd=folder), ""


def _mutate_toml(rng: Random, text: str) -> bytes:
    if rng.random() < 0.4:
        return mutate_bytes(rng, text.encode())
    lines = text.strip().splitlines()
    at = rng.choice([i for i, line in enumerate(lines) if " = " in line])
    odd = (
        '"x"',
        "-1",
        "0",
        "1e400",
        "nan",
        "inf",
        "[]",
        "[" * 5000,
        "{}",
        "9" * 5000,
        "true",
        '""',
    )
    lines[at] = f"{lines[at].partition(' = ')[0]} = {rng.choice(odd)}"
    return "\n".join(lines).encode()


def _journal(rng: Random, toys: Toys, folder: Path) -> tuple[str, Outcome, str]:
    study = toys.copy(toys.study, folder)
    files = sorted(path for path in study.iterdir() if path.is_file())
    path = rng.choice(
        [file for file in files if file.suffix in (".log", ".toml", ".json")] or files
    )
    path.write_bytes(mutate_bytes(rng, path.read_bytes()))
    command = ("tune", "cnn", "--data", toys.dataset, "--study", "study", "--trials", 1)
    return "", run(*command, "--epochs", 1, *TRAIN[:-2], "--json", cwd=folder, limit=60), ""


STATES: dict[str, State] = {
    "config.json": _config, "metrics.jsonl": _metrics, "state.pt": _state, "receipt": _receipt,
    "manifest": _manifest, "images.npy": _images, "toml": _toml, "study": _journal,
}  # fmt: skip
