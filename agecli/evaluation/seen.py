"""Find the images that are new to models, by the fingerprints in their weights files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agecli import distributed
from agecli.data.seen import Seen, fingerprints_of
from agecli.data.store import ALL, Dataset, name_split
from agecli.errors import DataError
from agecli.weights import read_fingerprints, read_metadata

SEEN = "seen in training"
"""The reason why images are left out, in the data set's `excluded`."""


@dataclass(frozen=True)
class Unseen:
    """A data set without the images of a split that models have seen, or near copies of them."""

    dataset: Dataset
    left_out: int | None
    """Number of images that any of the models has seen; None if nothing was searched."""
    searched: list[bool]
    """By model, whether its fingerprints were searched; otherwise the split proves it, if any."""


def leave_out_seen(
    paths: Sequence[Path], dataset: Dataset, split: str, *, force: bool = False
) -> Unseen:
    """Leave out the images of a split that a model, its teacher or its initial weights have seen.

    A model trained on this very split needs no search, except for `all` of it. All processes
    of a launch call this. Raises DataError for a model without fingerprints, unless
    `force`, and if no image is left.
    """
    rows, prints = dataset.rows(split), None
    masks: list[NDArray[np.bool_] | None] = []
    for path in paths:
        known = None
        if split == ALL or read_metadata(path).split_hash != dataset.split_hash:
            known = read_fingerprints(path)
            if known is None and not force:
                raise DataError(_refusal(path, dataset))
        if known is not None and prints is None:
            prints = distributed.from_main(lambda: fingerprints_of(dataset, rows))
        masks.append(None if known is None or prints is None else Seen(known).knows(prints))
    found = [mask for mask in masks if mask is not None]
    searched = [mask is not None for mask in masks]
    if not found:
        return Unseen(dataset, None, searched)
    seen = np.any(found, axis=0)
    if seen.all():
        raise DataError(
            f"No image of {name_split(split)} of {dataset.folder} is new to the models: choose "
            "another --split or --data"
        )
    gone = np.zeros(len(dataset.excluded), dtype=bool)
    gone[rows[seen]] = True
    left = replace(dataset, excluded=np.where(gone, SEEN, dataset.excluded))
    return Unseen(left, int(gone.sum()), searched)


def _refusal(path: Path, dataset: Dataset) -> str:
    """Return the reason why a model may have seen the images that it would be scored on."""
    if read_metadata(path).split_hash == dataset.split_hash:
        why = f"{path} does not record which images of {dataset.folder} it has seen"
        return f"{why}: use --split test, or --force, which scores and marks it"
    newer = dataset.receipt.options.get("audit", 1) > 1
    earlier = "; `agecli prepare ... --audit 1` reproduces older splits" if newer else ""
    return (
        f"{path} was trained on another split than that of {dataset.folder}, and does not record "
        "which images: it may have seen these, so its figures may be too good (--force scores and "
        f"marks it{earlier})"
    )
