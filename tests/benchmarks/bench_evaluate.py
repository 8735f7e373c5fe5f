"""Time agecli evaluate of several models against their bare forward passes, as ratios of one run.

    python tests/benchmarks/bench_evaluate.py WEIGHTS... --data data/utkface

Bare is the least that any evaluation must do: the images, decoded and in memory, in batches of
the same size through the same modules as evaluate loads them (batch norms folded, channels last),
without their mirror images. It is timed twice: *passes* has each model's input, resized and
normalised, ready beforehand; *with inputs* makes it from the stored images, as every user of a
model must. evaluate is the command itself, in this process, from the options to the tables: opens
the data and the weights, reads the images, runs the models, scores, bootstraps, compares, slices.
Only importing is left out, by a first run that is not timed.

Rounds are taken in turns, and times are the processor's, not the clock's, so that other work on
the machine affects the ratios little (waiting for the disk is left out with it). The medians of
the rounds' times and ratios are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from agecli.commands.evaluate import evaluate
from agecli.config import TrainConfig
from agecli.data.batches import to_input
from agecli.data.store import open_dataset
from agecli.inference.predictor import load_model
from agecli.inference.pytorch import LoadedModel
from agecli.weights import named_weights

BATCH = TrainConfig.batch_size


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.inference_mode()
def fill(inputs: list[torch.Tensor], model: LoadedModel, images: np.ndarray) -> None:
    meta = model.metadata
    for i in range(0, len(images), BATCH):
        pixels = torch.from_numpy(images[i : i + BATCH])
        inputs.append(to_input(pixels, meta.image_size, meta.mean, meta.std))


@torch.inference_mode()
def passes(model: LoadedModel, inputs: list[torch.Tensor]) -> None:
    for batch in inputs:
        model.module(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", action="store_true", help="time evaluate --report, too")
    wanted = parser.parse_args()
    dataset = open_dataset(wanted.data)
    images = np.take(dataset.images, dataset.rows("test"), axis=0)
    paths = [path for name in wanted.weights for path in named_weights(name)]
    models = [load_model(path, "cpu") for path in paths]
    for model in models:
        model.module.eval()
    kinds: dict[str, list[float]] = {"passes": [], "with inputs": [], "evaluate": []}
    if wanted.report:
        kinds["with --report"] = []

    def run(paths: list[Path], report: Path | None = None) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            evaluate(paths, data=wanted.data, device="cpu", report=report, force=True)

    with tempfile.TemporaryDirectory() as folder:
        run(paths[:1], Path(folder))  # imports
        for number in range(wanted.rounds):
            make = forward = 0.0
            for model in models:
                inputs: list[torch.Tensor] = []
                make += seconds(partial(fill, inputs, model, images))
                forward += seconds(partial(passes, model, inputs))
            kinds["passes"].append(forward)
            kinds["with inputs"].append(make + forward)
            kinds["evaluate"].append(seconds(partial(run, paths)))
            if wanted.report:
                kinds["with --report"].append(seconds(partial(run, paths, Path(folder))))
            print(number, {kind: round(times[-1], 2) for kind, times in kinds.items()}, flush=True)
    print(f"{len(models)} models, {len(images)} images, {torch.get_num_threads()} threads")
    for kind, times in kinds.items():
        ratios = [
            [mine / other for mine, other in zip(times, kinds[bare], strict=True)]
            for bare in ("passes", "with inputs")
        ]
        print(
            f"{kind}: {median(times):.2f} s, {median(ratios[0]):.3f} × passes, "
            f"{median(ratios[1]):.3f} × with inputs"
        )


if __name__ == "__main__":
    main()
