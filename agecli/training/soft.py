"""Soft labels learned beside the labels: a teacher's outputs, or those of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from agecli.config import TrainConfig
from agecli.data.named import read_file
from agecli.data.softlabels import OPTION, SoftLabels, read_soft_labels
from agecli.data.store import Dataset, open_for
from agecli.errors import DataError
from agecli.training.teacher import check_teacher

Config = TypeVar("Config", bound=TrainConfig)


def settle_soft(config: Config, announce: Callable[[str], None]) -> Config:
    """Check the source of soft labels, and fill in the hash of its file.

    announce: receives how many images have one. Raises UsageError for an unusable teacher,
    DataError for an unusable file.
    """
    check_teacher(config)
    if not config.soft_labels:
        return replace(config, soft_labels_sha256="")
    dataset = open_for(config)
    soft, rows = read_soft_labels(Path(config.soft_labels), dataset), dataset.rows("train")
    count = soft.count(rows)
    if not count:
        raise DataError(
            f"{OPTION}: no row of {config.soft_labels} names a training image of {config.data}: "
            "its ids must be those of the manifest.csv there"
        )
    unknown = f"; {soft.unknown:,} rows name no image of {config.data}" if soft.unknown else ""
    announce(f"{OPTION}: {count:,} of {len(rows):,} training images have one{unknown}")
    return replace(config, soft_labels_sha256=soft.sha256)


def open_soft_labels(config: TrainConfig, dataset: Dataset) -> SoftLabels | None:
    """Read the file of soft labels that a configuration names; return None if it names none.

    Raises DataError for a file other than the one the training started with.
    """
    if not config.soft_labels:
        return None
    path = Path(config.soft_labels)
    found = sha256(read_file(OPTION, path)).hexdigest()
    if config.soft_labels_sha256 not in ("", found):
        raise DataError(
            f"{OPTION}: {config.soft_labels} is not the file that this training started with: "
            "restore that, or start a new run"
        )
    return read_soft_labels(path, dataset)
