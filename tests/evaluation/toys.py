"""A data set of noise and untrained weights: enough for figures to come out."""

from pathlib import Path

import numpy as np
import torch

from agecli.ages import Age, Scheme, outputs_of
from agecli.config import DETECTOR, IMAGENET_MEAN, IMAGENET_STD
from agecli.data import store
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import Receipt
from agecli.data.split import SPLITS, split_hash
from agecli.models.cnn import CNN
from agecli.weights import Metadata, save_weights

SIDE, PER_SPLIT = 20, 24
DIGESTS = [f"{i:064}" for i in range(3 * PER_SPLIT)]
SAME = split_hash(DIGESTS, [*SPLITS] * PER_SPLIT)


def write_data(folder: Path, *, seed: int = 0, years: int = 1) -> Path:
    """Write a data set whose split hash is SAME; years: how many each label leaves open."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(3 * PER_SPLIT):
        age = 28 if i % 2 else int(rng.integers(80))
        label = Age(age, age + years - 1)
        rows.append(
            ManifestRow(f"{i}", "drawn", DIGESTS[i], label, "", "", "", -1, i, SPLITS[i % 3], "")
        )
    write_manifest(folder / store.MANIFEST, rows)
    images = rng.integers(256, size=(len(rows), SIDE, SIDE, 3), dtype=np.uint8)
    np.save(folder / store.IMAGES, images)
    Receipt(split_hash=SAME, scheme=Scheme.parse("adience8").labels).write(folder / store.RECEIPT)
    return folder


def write_weights(
    path: Path, *, objective: str = "both", split_hash: str = SAME, seed: int = 0,
    margin: float = 0.06,
) -> Path:  # fmt: skip
    """Write an untrained cnn's weights file."""
    torch.manual_seed(seed)
    scheme = Scheme.parse("adience8")
    architecture = {"outputs": outputs_of(objective, scheme), "image_size": 16}
    metadata = Metadata(
        model="cnn",
        architecture=architecture,
        objective=objective,
        scheme=scheme.labels,
        image_size=16,
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        crop={"detector": DETECTOR, "margin": margin},
        split_hash=split_hash,
    )
    save_weights(path, CNN(**architecture).state_dict(), metadata)
    return path
