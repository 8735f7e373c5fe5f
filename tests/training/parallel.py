"""Run by several processes for test_parallel.py, and by one for comparison; a module.

python -m tests.training.parallel DATASET OUT, under RANK, WORLD_SIZE and so on.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agecli import distributed
from agecli.ages import Scheme
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config, ResNetConfig, TrainConfig
from agecli.data.batches import to_input
from agecli.data.store import open_dataset
from agecli.inference import sharing
from agecli.models.resnet import ARCHS, BasicBlock, Body
from agecli.training import fastai, fastai_loaders, loop, pytorch, transformers
from agecli.training.build import build_model
from agecli.training.features import cache_features
from agecli.training.objectives import AgeObjective
from agecli.training.observer import Observer
from agecli.training.records import Epoch
from agecli.training.runs import Run
from tests.archives import SPREAD_AGES, write_faces
from tests.models.backbones import save_backbone

GLOBAL_BATCH = 16


class StopAfter(Observer):
    """Stops a training after an epoch, in every process."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def finished_epoch(self, epoch: Epoch) -> None:
        if epoch.epoch == self.epoch:
            raise KeyboardInterrupt


def plain(dataset: Path, kind: type[TrainConfig] = CnnConfig, **settings) -> TrainConfig:
    """Configure a training of which nothing is random but the start and the order."""
    defaults = dict(
        image_size=32, batch_size=GLOBAL_BATCH, epochs=2, lr=1e-3, dropout=0.0, ema=0.9,
        device="cpu",
    )  # fmt: skip
    config = kind(data=str(dataset), **(defaults | settings))
    return replace(config, batch_size=config.batch_size // distributed.world())


def exact_input(images, size, mean, std, *augmentation):
    """Stand in for `to_input` and `to_augmented_input`: in double precision, and not augmented."""
    return to_input(images, size, mean, std).double()


def run_training(config: TrainConfig, folder: Path, trainer=pytorch) -> None:
    """Train; several processes are stopped after an epoch, and go on, as one need not.

    Except for heads, whose epochs only the first process receives.
    """
    run = distributed.from_main(lambda: Run.create(folder, config))
    if distributed.world() > 1 and trainer is not transformers:
        with pytest.raises(KeyboardInterrupt):
            trainer.train(config, run, StopAfter(1), score=False)
        run, config = distributed.from_main(lambda: Run.open(folder))
    trainer.train(config, run, score=False)


def extract_features(config: Dinov2Config, out: Path) -> None:
    """Cache an augmented view in a folder; one process is stopped on the way, and resumes."""
    config = replace(config, batch_size=24)
    out.mkdir(exist_ok=True)
    dataset = replace(open_dataset(Path(config.data)), folder=out)
    torch.manual_seed(1)
    model = build_model(config, Scheme.parse("adience8"))
    rows = dataset.rows("train")

    def stop(done: int, total: int) -> None:
        if done > 50:
            raise KeyboardInterrupt

    where = model, dataset, rows, config, torch.device("cpu"), 1
    if distributed.world() == 1:
        with pytest.raises(KeyboardInterrupt):
            cache_features(*where, stop)
    cache_features(*where)


def call(arguments: list[object], out: Path, patch: pytest.MonkeyPatch) -> None:
    """Call the command line, and keep what this process prints."""
    from agecli.cli import app

    patch.setattr(sharing, "ROUND", 2)
    with out.with_suffix(f".{distributed.rank()}").open("w") as file, redirect_stdout(file):
        app([*map(str, arguments), "--device", "cpu"], standalone_mode=False)


def run_all(dataset: Path, out: Path) -> None:
    """Do everything, in every process.

    In double precision: in single, the last bits that differ grow a hundredfold an epoch.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (loop, fastai_loaders):
            patch.setattr(module, "to_augmented_input", exact_input)
            patch.setattr(module, "to_input", exact_input)
        body, loss = Body.forward, AgeObjective.forward
        patch.setattr(Body, "forward", lambda self, x: body(self, x.double()))
        # fastai's recorder knows single precision alone.
        patch.setattr(AgeObjective, "forward", lambda self, *batch: loss(self, *batch).float())
        patch.setitem(ARCHS, "resnet18", (BasicBlock, 64, ((1,), (2,), (2,), (2,))))
        torch.set_default_dtype(torch.float64)
        both = plain(dataset, balance="sqrt", label_smoothing=0.1, limit=64)
        run_training(both, out / "cnn")
        halves = plain(dataset, batch_size=8, accumulate=2, grad_checkpoint=True, limit=64)
        run_training(halves, out / "accumulated")
        capsules = plain(dataset, CapsNetConfig, balance="full", reconstruction=True, limit=64)
        run_training(capsules, out / "capsnet")
        whole = plain(
            dataset, ResNetConfig, arch="resnet18", init="none", freeze_epochs=1, epochs=1, limit=64
        )
        run_training(whole, out / "resnet", fastai)
        distributed.from_main(lambda: shutil.copytree(dataset, out / "data"))  # the cache is in it
        backbone = dataset.with_name("backbone")  # the cache's names depend on it
        if not backbone.exists():
            save_backbone(backbone)
        tuned = plain(
            out / "data", Dinov2Config, backbone=str(backbone), unfreeze=1, epochs=1, limit=64,
            image_size=28,
        )  # fmt: skip
        tuned = transformers.settle(tuned, announce=print, dry=False)
        run_training(tuned, out / "dinov2", transformers)
        torch.set_default_dtype(torch.float32)
        extract_features(tuned, out / "view")
        pictures = dataset.with_name("pictures")
        if not pictures.exists():
            write_faces(pictures, [*SPREAD_AGES, 33])
            (pictures / "broken.jpg").write_bytes(b"no picture")
        predict = ["predict", pictures, "--crops", "--json", "--csv", out / "predicted.csv"]
        call(predict, out / "predicted", patch)
        scored = ["evaluate", "cnn", "--data", dataset, "--json", "--force", "--batch-size", 3]
        call(scored, out / "evaluated", patch)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_all(Path(sys.argv[1]), Path(sys.argv[2]))
    distributed.leave()
