"""Weights that a training starts from or learns from: finding and checking them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from agecli.ages import IntArray
from agecli.config import DLIB, TrainConfig, is_dlib
from agecli.data.seen import Prints, Seen, fingerprints_of, merge
from agecli.data.store import Dataset, open_for
from agecli.errors import UsageError, WeightsError
from agecli.registry import MODELS
from agecli.training.runs import Run
from agecli.weights import is_ours, named_weights, read_fingerprints, read_metadata

NOT_OURS = ("none", "imagenet")
"""Values of --init that never name weights of ours, even if such a file or folder exists."""


def own_weights(name: str) -> Path | None:
    """Return the weights file that a released model's name, a run or a file of ours stands for.

    None for anything else. Raises WeightsError for a folder without any.
    """
    if name in MODELS or Path(name).is_dir():
        return named_weights(name)[0]
    return Path(name) if is_ours(Path(name)) else None


def only_weights(option: str, name: str) -> Path:
    """Return the weights file that an option names. Raises UsageError for a folder with several."""
    first, *others = named_weights(name)
    if others:
        raise UsageError(
            f"{option}: {name} holds {1 + len(others)} weights files: pass one of them"
        )
    return first


def check_split(option: str, path: Path, config: TrainConfig) -> None:
    """Raise UsageError for weights that may have seen a training's validation or test images.

    Those of another split have to prove by their fingerprints that they have not.
    """
    dataset = open_for(config)
    if read_metadata(path).split_hash == dataset.split_hash:
        return
    prints = read_fingerprints(path)
    if prints is None:
        raise UsageError(
            f"{option}: {path} was trained on another split than {config.data}, and does not "
            "record which images: it may have seen validation or test images of this training; "
            "use weights trained on the same split"
        )
    rows = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    if count := int(Seen(prints).knows(fingerprints_of(dataset, rows)).sum()):
        raise UsageError(
            f"{option}: {path} was trained on another split than {config.data}, and has seen "
            f"{count:,} of its {len(rows):,} validation and test images; use weights trained on "
            "the same split"
        )


def starts_from_dlib(config: TrainConfig) -> bool:
    """Return whether a training's initial weights are those of dlib's network."""
    network = getattr(config, "arch", "") or getattr(config, "stem", "")
    return network == DLIB and is_dlib(getattr(config, "init", ""))


def training_of(name: str, run: Run) -> dict[str, Any] | None:
    """Return how a run's initial weights were trained; None for weights that are not ours.

    A run that has begun has this on record: the weights may have changed, or be gone.
    """
    with suppress(WeightsError):
        if run.begun:
            return read_metadata(run.best).training.get("before")
        if path := own_weights(name):
            return read_metadata(path).training
    return None


def fingerprints_of_run(
    config: TrainConfig, run: Run, dataset: Dataset, rows: IntArray
) -> Prints | None:
    """Return the fingerprints of all images that a training's weights will have seen.

    rows: (N,) of the training and validation images. Images seen by the initial weights and by
    the teacher are added; None if theirs are unknown. What a backbone or a body was
    pre-trained on for other tasks has no ages, and does not count.
    """
    if run.begun:  # the initial weights may have changed, or be gone
        return read_fingerprints(run.best)
    before: list[Prints] = []
    init = "" if starts_from_dlib(config) else getattr(config, "init", "")
    for name in (init, config.teacher):
        if name and name not in NOT_OURS:
            path = own_weights(name)
            prints = read_fingerprints(path) if path else None
            if prints is None:
                return None
            before.append(prints)
    return merge(fingerprints_of(dataset, rows), *before)
