"""The frozen dinov2's costs: extraction, the sweep, and both against the full loop.

    python tests/benchmarks/bench_features.py DATA BACKBONE [--images N] [--epochs E] [--batch B]

Prints a bare forward loop's rate on resident tensors, the rate of extraction from the store, the
time of a sweep of 8 heads over 13,000 features, and how much faster E epochs of the sweep are than
E epochs that run the backbone, both with the extraction counted.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from agecli.ages import YEARS
from agecli.config import Dinov2Config
from agecli.data.batches import to_input
from agecli.data.store import open_dataset
from agecli.inference.pytorch import find_device
from agecli.memory import keep_freed_memory
from agecli.models.dinov2 import Dinov2, backbone_state, describe_backbone
from agecli.training.features import extract
from agecli.training.heads import Features, Sweep
from agecli.training.objectives import make_objective
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.session import Session
from agecli.training.transformers import settle

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("backbone")
parser.add_argument("--images", type=int, default=1024)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--batch", type=int, default=64)
arguments = parser.parse_args()

keep_freed_memory()
device = torch.device(find_device("auto"))
config = Dinov2Config(
    backbone=arguments.backbone, data=arguments.data, batch_size=arguments.batch,
    epochs=arguments.epochs,
)  # fmt: skip
config = settle(config, announce=print, dry=False)
dataset = open_dataset(Path(config.data))
model = Dinov2(outputs=YEARS, backbone=describe_backbone(config.backbone, config.revision, 0, 0.0))
model.load_state_dict(model.state_dict() | backbone_state(config.backbone, config.revision))
model = model.to(device).eval()
rows = dataset.rows("train")[: arguments.images]
look = config.image_size, config.mean, config.std


def bare() -> float:
    """Time a forward loop over batches that are in memory, ready."""
    x = to_input(torch.from_numpy(dataset.images[rows[: config.batch_size]]).to(device), *look)
    steps = len(rows) // config.batch_size
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(steps):
            model.features(x).cpu()
    return steps * config.batch_size / (time.perf_counter() - started)


def extracted() -> float:
    """Time the extraction from the store."""
    started = time.perf_counter()
    for _ in extract(model, dataset, rows, config, device):
        pass
    return len(rows) / (time.perf_counter() - started)


bare(), extracted()  # to warm up
rates = [(bare(), extracted()) for _ in range(3)]
ratio = sorted(x / b for b, x in rates)[1]
print(f"bare forward {max(b for b, _ in rates):.1f}, extraction {max(x for _, x in rates):.1f} "
      f"images/s; ratio (median of 3 pairs) {ratio:.3f}")  # fmt: skip

scheme = dataset.scheme
objective = make_objective(config, scheme, dataset.ages[dataset.rows("train")]).to(device)
count = 13_000
many, val = dataset.rows("train")[:count], dataset.rows("val")
width = model.head.linear.in_features
features = [Features([torch.randn(len(r), width)], r) for r in (many, val)]
with tempfile.TemporaryDirectory() as folder:
    here = replace(dataset, folder=Path(folder))
    session = Session(
        config, Run(Path(folder, "run")), Observer(), here, device, objective,
        {"train": many, "val": val},
    )  # fmt: skip
    sweep = Sweep(session, config, YEARS, *features)
    started = time.perf_counter()
    for epoch in range(config.epochs):
        sweep._train_epoch(epoch + 1)
        for head in sweep.heads:
            sweep.validate(head)
    seconds = time.perf_counter() - started
heads = len(sweep.heads)
print(f"sweep of {heads} heads, {count:,} features, {config.epochs} epochs: {seconds:.1f} s")
full = config.epochs * count / max(b for b, _ in rates)
ours = count / max(x for _, x in rates) + seconds
times = full / ours
print(f"{config.epochs} epochs with the backbone, forward alone: {full:.0f} s; ours: {ours:.0f} s")
print(f"{times:.1f} times faster, {times / config.epochs:.2f} · E")
