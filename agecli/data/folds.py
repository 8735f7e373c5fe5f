"""A data set as it is split for one fold of a cross-validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agecli.config import PrepareConfig
from agecli.data.decide import LEAKS, REASONS, Known, decide_fold
from agecli.data.manifest import Manifest
from agecli.data.receipt import Receipt
from agecli.data.split import SPLITS, Array, split_hash
from agecli.errors import UsageError

_OPTIONS = ("seed", "conflicts")  # of a receipt, that matter here, too


def of_fold(
    manifest: Manifest, receipt: Receipt, fold: int, *, within_train: bool = False
) -> Manifest:
    """Return a data set's manifest with a fold as test split, the rest for training and validation.

    A tenth of the rest, in each source and age group, is for validation; no person or duplicate
    straddles, and images left out of the plain split for that are used. within_train: only
    from the plain training split, so that nothing is seen of its validation and test images, nor
    of their duplicates and persons. Raises ValueError for invalid options in the receipt.
    """
    chosen = {name: receipt.options[name] for name in _OPTIONS if name in receipt.options}
    try:
        config = PrepareConfig(scheme=",".join(receipt.scheme), **chosen)
    except UsageError as error:
        raise ValueError(str(error).removeprefix("--")) from error
    used = (manifest.splits != "") & np.isin(manifest.excluded, REASONS)
    if within_train:
        used &= (manifest.splits == "train") & ~np.isin(manifest.excluded, LEAKS)
    decided = decide_fold(_known(manifest, receipt, used), fold, config)
    splits = np.array([*SPLITS, ""])[decided.splits]  # of -1, the last
    reasons = np.array(REASONS)[decided.reasons]
    pairs = manifest.digests[used].tolist(), splits[used].tolist()
    return replace(
        manifest, splits=splits, excluded=np.where(used, reasons, manifest.excluded),
        split_hash=split_hash(*pairs),
    )  # fmt: skip


def _known(manifest: Manifest, receipt: Receipt, used: NDArray[np.bool_]) -> Known:
    """Return the facts about the images as numbers. Raises ValueError for an invalid sha256."""
    count = len(manifest.ids)
    digests = np.frombuffer(bytes.fromhex("".join(manifest.digests)), np.uint8)
    if len(digests) != 32 * count:
        raise ValueError("a sha256 is invalid")
    sources = _numbers(manifest.sources)
    persons = _numbers(np.char.add(np.char.add(sources.astype(str), " "), manifest.persons))
    return Known(
        clusters=np.where(used, manifest.clusters, -1),
        ages=manifest.ages,
        digests=digests.reshape(-1, 32),
        sources=sources,
        persons=np.where(manifest.persons != "", persons, -1),
        splits=np.full(count, -1, np.int8),
        folds=manifest.folds,
        doubtful=_doubtful(manifest, receipt),
    )


def _doubtful(manifest: Manifest, receipt: Receipt) -> NDArray[np.bool_]:
    images = zip(manifest.sources.tolist(), manifest.ids.tolist(), strict=True)
    named = set(receipt.doubtful)
    return np.array([image in named for image in images], dtype=bool)


def _numbers(texts: np.ndarray) -> Array:
    return np.unique(texts, return_inverse=True)[1]
