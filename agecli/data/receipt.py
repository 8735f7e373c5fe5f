"""receipt.json: how a data set was made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli import __version__
from agecli.ages import NO_GROUP, Labels, Scheme
from agecli.config import PrepareConfig
from agecli.data.audit import age_spans, repeated_heads
from agecli.data.decide import CONFLICT_YEARS, Known, groups_of
from agecli.data.split import SPLITS, Array, split_hash_of
from agecli.errors import UsageError
from agecli.reading import read_json


@dataclass(frozen=True)
class Clusters:
    """Counts of duplicates."""

    of_several: int = 0
    """Clusters of more than one image."""
    images: int = 0
    """Images in these."""
    identical_files: int = 0
    """Files that occur more than once, byte for byte."""
    conflicting_ages: int = 0
    """Clusters whose images have different ages."""
    over_2_years: int = 0
    over_5_years: int = 0


@dataclass(frozen=True)
class LeftOut:
    """Images left out of a data set for one reason."""

    count: int = 0
    files: list[str] = field(default_factory=list)
    """Their names; only the first of very many."""


@dataclass(frozen=True)
class Origin:
    """How one source was read."""

    name: str
    layout: str
    by: str = ""
    """What the layout was recognised by."""
    pictures: int = 0
    """Images with a label."""
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Images without one, by reason."""
    cropped: bool = False
    """Whether faces were detected and cropped."""
    why: str = ""
    """Why the images were cropped, or taken as they are."""


@dataclass(frozen=True)
class Receipt:
    """What a data set was made from, what was left out and why, and how it was split."""

    split_hash: str
    """Results are comparable if it is equal."""
    scheme: Labels
    """Labels of the age groups by which the split is stratified."""
    manifest: str = ""
    """SHA-256 of manifest.csv, whose rows' order is that of the images; empty in older ones."""
    agecli_version: str = __version__
    options: dict[str, Any] = field(default_factory=dict)
    """The settings of `PrepareConfig`."""
    sources: list[str] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    """How each source was read, in the order given."""
    images: int = 0
    used: int = 0
    """Images that were not left out."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Images by age group (or "gap") and split."""
    repaired_names: list[str] = field(default_factory=list)
    unlabelled: int = 0
    """Images without an age, which were left out."""
    missing: int = 0
    """Rows of the tables without an image."""
    unused_columns: list[str] = field(default_factory=list)
    """Columns of the tables that are not used."""
    skipped: list[str] = field(default_factory=list)
    """Files of the sources that are not images."""
    doubtful: list[tuple[str, str]] = field(default_factory=list)
    """Sources and ids of the images with doubtful labels, not trained on in any fold."""
    excluded: dict[str, int] = field(default_factory=dict)
    """Images that were left out, by reason."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Images in no split, and why; also folders, whose names end in /."""
    clusters: Clusters = Clusters()

    @classmethod
    def of(
        cls, known: Known, splits: Array, used: NDArray[np.bool_], config: PrepareConfig, *,
        manifest: str, excluded: dict[str, int], unreadable: dict[str, str],
        repaired_names: list[str], origins: list[Origin], missing: int, unused_columns: list[str],
        skipped: list[str], closed: dict[str, str], doubtful: list[tuple[str, str]],
    ) -> Receipt:  # fmt: skip
        """Make the receipt from facts on each image, its index in SPLITS, and its use."""
        scheme = Scheme.parse(config.scheme)
        counts = _count_groups(known, splits, used, scheme)
        return cls(
            split_hash=split_hash_of(known.digests, splits),
            scheme=scheme.labels,
            manifest=manifest,
            options=asdict(config),
            sources=sorted({origin.name for origin in origins if origin.pictures}),
            images=len(known.clusters),
            used=sum(sum(by_split.values()) for by_split in counts.values()),
            counts=counts,
            repaired_names=repaired_names,
            origins=origins,
            unlabelled=sum(kind.count for origin in origins for kind in origin.left_out.values()),
            missing=missing,
            unused_columns=unused_columns,
            skipped=skipped,
            doubtful=doubtful,
            excluded=excluded,
            unreadable=unreadable
            | {folder: f"unreadable: {reason}" for folder, reason in closed.items()},
            clusters=_count_clusters(known),
        )

    @classmethod
    def read(cls, path: Path) -> Receipt:
        """Read receipt.json of any version. Raises ValueError for any other file."""
        receipt = read_json(path, cls)
        try:
            Scheme.parse(receipt.scheme)
        except UsageError as error:
            raise ValueError(str(error).removeprefix("--")) from error
        return receipt

    def write(self, path: Path) -> None:
        """Write receipt.json."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def _count_groups(
    known: Known, splits: Array, used: NDArray[np.bool_], scheme: Scheme
) -> dict[str, dict[str, int]]:
    groups = groups_of(known.ages, scheme)
    return {
        name: {
            split: int((used & (groups == group) & (splits == place)).sum())
            for place, split in enumerate(SPLITS)
        }
        for group, name in [*enumerate(scheme.labels), (NO_GROUP, "gap")]
    }


def _count_clusters(known: Known) -> Clusters:
    usable = known.clusters >= 0
    clusters = known.clusters[usable]
    sizes = np.bincount(clusters).astype(np.int32)
    spans = np.zeros(len(sizes), np.int16)
    spans[clusters] = age_spans(clusters, known.ages[usable])
    return Clusters(
        of_several=int((sizes > 1).sum()),
        images=int(sizes[sizes > 1].sum()),
        identical_files=len(repeated_heads(known.digests, usable)),
        conflicting_ages=int((spans > 0).sum()),
        over_2_years=int((spans > 2).sum()),
        over_5_years=int((spans > CONFLICT_YEARS).sum()),
    )
