"""--train: the release's trainings side by side on one GPU, as long as the minutes allow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.training.observer import Observer
from agecli.training.records import Epoch

RECIPES: dict[str, TrainConfig] = {
    "cnn": CnnConfig(
        image_size=160, batch_size=128, lr=1.5e-3, weight_decay=0.05, dropout=0.4, augment="wild"
    ),
    "capsnet": CapsNetConfig(image_size=160, batch_size=128, augment="wild"),
    "resnet": ResNetConfig(
        image_size=160, batch_size=128, weight_decay=0.05, augment="wild", init="none"
    ),
    "dinov2": Dinov2Config(
        image_size=120, batch_size=128, lr=6e-4, backbone="scratch:tiny", augment="wild"
    ),
}
"""Settings of each training here, except its epochs."""

SHARE = 0.9
"""Part of the time left that the epochs are planned for: the rest is for those that take longer."""


class Clock(Observer):
    """Times a probe's second epoch, which begins when all trainings are through their first."""

    def __init__(self, name: str, out: Path, others: list[str], quick: bool) -> None:
        self.name, self.out, self.others, self.patience = name, out, others, 10 if quick else 60
        self.began, self.seconds = 0.0, 0.0

    def finished_epoch(self, epoch: Epoch) -> None:
        """Wait for the others behind the first epoch; time the second."""
        if epoch.epoch == 1:
            (self.out / f"{self.name}.ready").touch()
            deadline = time.monotonic() + self.patience
            while time.monotonic() < deadline and not all(
                (self.out / f"{other}.ready").exists() for other in self.others
            ):
                time.sleep(0.05)
            self.began = time.monotonic()
        else:
            self.seconds = time.monotonic() - self.began


def run(
    data: Path, out: Path, device: str, *, minutes: float, names: list[str], quick: bool
) -> None:
    """Train the models in a process each; leave NAME.safetensors and NAME.json of each in `out`."""
    deadline = time.time() + 60 * minutes
    command = [sys.executable, str(Path(sys.argv[0])), str(data), str(out), "--device", device]
    command += ["--quick"] * quick + ["--models", ",".join(names), "--deadline", str(deadline)]
    children = {}
    for name in names:
        log = (out / f"{name}.log").open("w")
        children[name] = subprocess.Popen(
            [*command, "--train-one", name], stdout=log, stderr=subprocess.STDOUT
        )
    while time.time() < deadline and any(child.poll() is None for child in children.values()):
        time.sleep(0.2)
    for name, child in children.items():
        if child.poll() is None:  # its best epoch so far is whole, though not its schedule
            child.kill()
            child.wait()
        best = out / "runs" / name / "best.safetensors"
        if best.exists():
            shutil.copy(best, out / f"{name}.safetensors")
        print(name, "exit", child.returncode, "weights", best.exists(), flush=True)


def train_one(
    name: str, data: Path, out: Path, device: str, *, deadline: float, names: list[str], quick: bool
) -> None:
    """Time an epoch beside the others, then train for as many as fit in front of the deadline."""
    import torch
    from gpu.common import train
    from safetensors.torch import load_file

    from agecli.weights import save_weights

    torch.backends.cudnn.benchmark = True
    config = replace(RECIPES[name], data=str(data), device=device, amp=True, workers=2)
    if quick:
        config = replace(config, image_size=48, batch_size=32, limit=256)
    clock = Clock(name, out, names, quick)
    train(replace(config, epochs=2), out / "probes" / name, clock)
    epochs = max(3, int(SHARE * (deadline - time.time()) / clock.seconds))
    print(f"{clock.seconds:.2f} s an epoch: {epochs} epochs", flush=True)
    run, metadata = train(replace(config, epochs=epochs), out / "runs" / name)
    save_weights(run.best, load_file(run.best), metadata)
    text = json.dumps([epoch.to_plain() for epoch in run.history()], indent=1)
    (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    shutil.copy(run.best, out / f"{name}.safetensors")


def score(files: list[Path], data: Path) -> None:
    """Calibrate and score weights, in the file, where they were not trained."""
    from agecli.data.store import open_dataset
    from agecli.training.results import score_weights

    for file in files:
        metadata = score_weights(file, open_dataset(data))
        figures = {name: metadata.metrics[name] for name in ("exact", "one_off", "macro_f1")}
        print(file, figures, metadata.metrics.get("mae"), flush=True)
