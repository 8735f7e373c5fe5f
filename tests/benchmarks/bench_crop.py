"""What finding and cropping costs: accuracy on chips against chips in larger pictures.

Chips of a split are scaled (0.5-1.6) and pasted anywhere into noise of 1.5-3 times their
side, found again, cropped and answered, all as `agecli predict` does it.

usage: python tests/benchmarks/bench_crop.py [DATA] [WEIGHTS] [SPLIT]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from agecli import Predictor
from agecli.ages import NO_GROUP, Scheme
from agecli.data.store import Dataset, open_dataset


def scenes(dataset: Dataset, rows: np.ndarray) -> Iterator[Image.Image]:
    """Paste each chip into a larger picture, at a size and place of its own."""
    rng = np.random.default_rng(0)
    for row in rows:
        side = round(dataset.images.shape[1] * float(np.exp(rng.uniform(np.log(0.5), np.log(1.6)))))
        whole = round(side * rng.uniform(1.5, 3))
        scene = Image.effect_noise((whole, whole), 40).convert("RGB")
        left, top = rng.integers(0, whole - side, 2).tolist()
        chip = Image.fromarray(dataset.images[row])
        scene.paste(chip.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        yield scene


def main(data: str = "data/utkface", weights: str = "weights/cnn.safetensors", split: str = "test"):
    """Print the accuracy of both ways on the same chips."""
    dataset = open_dataset(Path(data))
    rows = dataset.rows(split)
    scheme = Scheme.parse(dataset.receipt["scheme"])
    rows = rows[scheme.groups_of(dataset.ages[rows]) != NO_GROUP]
    truth = scheme.groups_of(dataset.ages[rows])
    groups = {label: index for index, label in enumerate(scheme.labels)}

    chips = Predictor([weights], crops=True, workers=2)
    pictures = (Image.fromarray(dataset.images[row]) for row in rows)
    on_chips = np.array([groups[row.group or ""] for row in chips.predict(pictures)])

    found = np.full(len(rows), NO_GROUP)
    extra, predictor = 0, Predictor([weights])
    for index, scene in enumerate(scenes(dataset, rows)):
        answers = [row for row in predictor.predict([scene]) if row.status == "ok"]
        extra += max(0, len(answers) - 1)
        if answers:
            found[index] = groups[answers[0].group or ""]
    seen = found != NO_GROUP

    def report(name: str, answer: np.ndarray, rows: np.ndarray) -> None:
        off = np.abs(answer[rows] - truth[rows])
        print(f"{name:<34} exact {(off == 0).mean():.1%}  1-off {(off <= 1).mean():.1%}"
              f"  n = {rows.sum()}")  # fmt: skip

    report("chips", on_chips, np.ones(len(rows), dtype=bool))
    report("chips that are found in scenes", on_chips, seen)
    report("the same, detected and cropped", found, seen)
    print(f"found {seen.mean():.1%}; {extra} further faces in {len(rows)} scenes")


if __name__ == "__main__":
    main(*sys.argv[1:])
