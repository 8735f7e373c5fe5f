"""Commands killed at any moment: finished work stays, and the same command resumes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.fuzz.calls import at_change
from tests.fuzz.toys import TRAIN, Toys
from tests.fuzz.watch import Outcome, run

BATCH = 1
LIMIT = 120.0
"""Seconds for the command that resumes after a kill."""


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Kill a command per seed, or interrupt it, and go on; yield what was wrong."""
    for seed in seeds:
        rng = Random(f"kills {seed}")
        name = rng.choice(list(KILLS))
        how = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
        for complaint in KILLS[name](rng, toys, folder, how):
            yield seed, f"{name}, {how.name}: {complaint}"
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _killed(how: signal.Signals, rng: Random, most: float, *command: object, cwd: Path) -> Outcome:
    """Run a command that is killed at any moment, or in front of a change of files."""
    if rng.random() < 0.5:
        return run(*command, cwd=cwd, limit=LIMIT, kill=(rng.uniform(0.05, most), how))
    number = rng.randrange(rng.choice((8, 25, 60)))

    def end(path: str) -> None:
        os.kill(os.getpid(), how)

    return run(*command, cwd=cwd, limit=LIMIT, before=lambda: at_change(number, end))


def _interrupted(outcome: Outcome, cwd: Path) -> Iterator[str]:
    """Yield what is wrong with an end by Ctrl-C; run the commands that it prints."""
    yield from outcome.complaints((0, 130, -signal.SIGKILL), LIMIT)
    if outcome.code != 130:
        return
    for hint in re.findall(r"`agecli ([^`]+)`", outcome.last_line):
        again = run(*shlex.split(hint), cwd=cwd, limit=LIMIT)
        for complaint in again.complaints((0,), LIMIT):
            yield f"the hint `agecli {hint}`: {complaint}"


def _prepare(rng: Random, toys: Toys, folder: Path, how: signal.Signals) -> Iterator[str]:
    from agecli.data.store import open_dataset

    command = ("prepare", toys.faces, "data set", "--size", 32, "--workers", 1)
    forced = rng.random() < 0.6
    if forced:
        shutil.copytree(toys.dataset, folder / "data set")
        command += ("--force",)
    outcome = _killed(how, rng, 3, *command, cwd=folder)
    yield from _interrupted(outcome, folder)
    out = folder / "data set"
    if forced and not out.exists() and not list(folder.glob(".data set.*")):
        yield "no data set is left"
    if out.exists():
        open_dataset(out)  # whole
        command += () if forced else ("--force",)
    again = run(*command, cwd=folder, limit=LIMIT)
    yield from (f"again: {complaint}" for complaint in again.complaints((0,), LIMIT))
    if again.code == 0 and open_dataset(out).split_hash != open_dataset(toys.dataset).split_hash:
        yield "another data set than without the kill"
    if len(left := list(folder.iterdir())) != 1:
        yield f"left {', '.join(sorted(path.name for path in left))}"


def _train(rng: Random, toys: Toys, folder: Path, how: signal.Signals) -> Iterator[str]:
    settings = ("--data", toys.dataset, "--epochs", 6, *TRAIN)
    outcome = _killed(how, rng, 5, "train", "cnn", *settings, "--run", "a run", cwd=folder)
    yield from _interrupted(outcome, folder)
    run_folder = folder / "a run"
    metrics = run_folder / "metrics.jsonl"
    before = metrics.read_text().splitlines() if metrics.exists() else []
    if (run_folder / "config.json").exists():
        command: tuple[object, ...] = ("train", "cnn", "--resume", "a run")
    else:
        command = ("train", "cnn", *settings, "--run", "a run")
    again = run(*command, cwd=folder, limit=LIMIT)
    yield from (f"again: {complaint}" for complaint in again.complaints((0,), LIMIT))
    if again.code:
        return
    after = metrics.read_text().splitlines()
    if len(after) != 6:
        yield f"{len(after)} of 6 epochs in metrics.jsonl"
    if how == signal.SIGKILL and after[: len(before)] != before:
        yield "a finished epoch was lost, or trained again"
    if left := [path.name for path in run_folder.rglob("*") if path.name.startswith(".")]:
        yield f"left {', '.join(left)}"


def _tune(rng: Random, toys: Toys, folder: Path, how: signal.Signals) -> Iterator[str]:
    command = (
        "tune", "cnn", "--data", toys.dataset, "--study", "a study", "--trials", 2, "--epochs", 2,
        "--pruner", "none", *TRAIN[:-2],
    )  # fmt: skip
    outcome = _killed(how, rng, 6, *command, cwd=folder)
    yield from _interrupted(outcome, folder)
    best = folder / "a study" / "best.toml"
    had = best.exists()
    again = run(*command, "--json", cwd=folder, limit=LIMIT)
    yield from (f"again: {complaint}" for complaint in again.complaints((0,), LIMIT))
    if had and not best.exists():
        yield "best.toml is gone"
    if again.code == 0 and not best.exists():
        yield "no best.toml"


def _export(rng: Random, toys: Toys, folder: Path, how: signal.Signals) -> Iterator[str]:
    from agecli.weights import read_metadata

    command = ("export", toys.weights["cnn.safetensors"], "o u t.onnx", "--card")
    outcome = _killed(how, rng, 4, *command, cwd=folder)
    yield from _interrupted(outcome, folder)
    out = folder / "o u t.onnx"
    if out.exists():
        read_metadata(out)
    done = (out.exists(), (folder / "o u t.md").exists()) == (True, True)
    again = run(*command, cwd=folder, limit=LIMIT)  # does not write over what is whole
    yield from (f"again: {said}" for said in again.complaints((2 if done else 0,), LIMIT))
    left = {path.name for path in folder.iterdir()} - {"o u t.onnx", "o u t.md"}
    if left:
        yield f"left {', '.join(sorted(left))}"


def _predict(rng: Random, toys: Toys, folder: Path, how: signal.Signals) -> Iterator[str]:
    command = (
        "predict", toys.faces, "--crops", "--csv", "all.csv", "--weights",
        toys.weights["cnn.safetensors"], "--workers", rng.choice((0, 2)), "--batch-size", 8,
    )  # fmt: skip
    outcome = _killed(how, rng, 3, *command, cwd=folder)
    yield from _interrupted(outcome, folder)
    out = folder / "all.csv"
    if out.exists() and len(out.read_text().splitlines()) != 161:
        yield f"{len(out.read_text().splitlines()) - 1} rows under the final name"
    again = run(*command, cwd=folder, limit=LIMIT)
    yield from (f"again: {complaint}" for complaint in again.complaints((0,), LIMIT))
    if left := {path.name for path in folder.iterdir()} - {"all.csv"}:
        yield f"left {', '.join(sorted(left))}"


Kill = Callable[[Random, Toys, Path, signal.Signals], Iterator[str]]
KILLS: dict[str, Kill] = {
    "prepare": _prepare, "train": _train, "tune": _tune, "export": _export, "predict": _predict,
}  # fmt: skip
