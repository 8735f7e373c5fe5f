"""From sources to a data set: list, decode, audit, split, write; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from agecli import __version__
from agecli.ages import NO_GROUP, Scheme
from agecli.config import PrepareConfig
from agecli.data import audit, sources, store
from agecli.data.images import read_image, square
from agecli.data.split import SPLITS, assign_splits, split_hash
from agecli.data.workers import WorkerPool, default_workers
from agecli.errors import DataError, ImageError

CONFLICT_YEARS = 5
_BATCH_IMAGES, _BATCH_BYTES = 32, 8 * 2**20

Crop = Callable[[Image.Image], Image.Image | None]
Progress = Callable[[str, int, int], None]
"""Called with the stage, what is done and what there is to do."""


@dataclass(frozen=True)
class _Listed:
    id: str
    source: Path
    name: str
    label: sources.Label


class _Decoded(NamedTuple):
    row: int
    sha256: str
    fingerprint: audit.Fingerprint | None
    excluded: str


def prepare(
    origins: list[Path],
    out: Path,
    config: PrepareConfig | None = None,
    *,
    labels: Path | None = None,
    crop: Crop | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Make the data set `out` of folders and archives, and return its receipt.

    labels: a CSV file of ages, in place of UTKFace's file names. crop: a picklable function that
    finds the face in a photograph. The folder appears under its name only when it is whole.
    Raises DataError for sources without pictures, for an `out` in use, and for too small a disk.
    """
    config = config or PrepareConfig()
    _check_out(out, force)
    listed, unlabelled = _list(origins, labels)
    progress("decode", 0, len(listed))
    partial_out = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial_out, ignore_errors=True)  # left by a run that was killed
    partial_out.mkdir(parents=True)
    try:
        _check_disk(partial_out, len(listed), config.size)
        images = store.StoreFile(partial_out / store.IMAGES, len(listed), config.size)
        decoded = _decode(listed, images, crop, workers or default_workers(), progress)
        progress("audit", 0, 1)
        clusters = _cluster(decoded, images)
        progress("audit", 1, 1)
        rows = _rows(listed, decoded, clusters, config)
        receipt = _receipt(rows, listed, unlabelled, config)
        store.write_manifest(partial_out / store.MANIFEST, rows)
        text = json.dumps(receipt, indent=1, ensure_ascii=False)
        (partial_out / store.RECEIPT).write_text(text + "\n", encoding="utf-8")
        _replace(partial_out, out)
    finally:
        shutil.rmtree(partial_out, ignore_errors=True)
    return receipt


def is_dataset(folder: Path) -> bool:
    """Tell whether a folder holds what `prepare` makes."""
    return (folder / store.RECEIPT).is_file() and (folder / store.MANIFEST).is_file()


def _check_out(out: Path, force: bool) -> None:
    if is_dataset(out):
        if not force:
            raise DataError(f"{out} is a data set already: --force makes it again")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not a data set: give another OUT")


def _check_disk(folder: Path, count: int, size: int) -> None:
    needed, free = count * size * size * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"Not enough disk space for {folder.parent}: {needed / 2**30:.1f} GiB needed, "
            f"{free / 2**30:.1f} free; choose another OUT or a smaller --size"
        )


def _replace(folder: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(folder, out)
    shutil.rmtree(old, ignore_errors=True)


def _list(origins: list[Path], labels: Path | None) -> tuple[list[_Listed], int]:
    """List the labelled pictures, sorted by id: their order is their row in the data set."""
    known = sources.read_labels(labels) if labels else None
    listed: dict[tuple[str, str], _Listed] = {}
    unlabelled = 0
    for origin in origins:
        for member in sources.list_members(origin):
            name = member.id.rsplit("/", 1)[-1]
            label = known.get(member.id) if known else sources.label_of_name(name)
            if known and label is None:
                label = known.get(member.name)
            if label is None:
                unlabelled += 1
            else:
                key = member.id, origin.name
                listed[key] = _Listed(member.id, origin, member.name, label)
    if not listed:
        where = ", ".join(map(str, origins))
        if known:
            raise DataError(f"No picture of {where} is named in {labels}: paths count from there")
        if unlabelled:
            raise DataError(
                f"No file name in {where} starts with an age, as UTKFace's do "
                "(age_sex_race_datetime.jpg): give the ages with --csv"
            )
        raise DataError(f"No pictures in {where}")
    return [listed[key] for key in sorted(listed)], unlabelled


def _decode(
    listed: list[_Listed],
    images: store.StoreFile,
    crop: Crop | None,
    workers: int,
    progress: Progress,
) -> list[_Decoded]:
    decoded: list[_Decoded | None] = [None] * len(listed)
    done = 0
    with WorkerPool(workers) as pool:
        for results in pool.map(partial(_decode_batch, images, crop), _batches(listed)):
            for result in results:
                decoded[result.row] = result
            done += len(results)
            progress("decode", done, len(listed))
    missing = [item.name for item, result in zip(listed, decoded, strict=True) if result is None]
    if missing:
        raise DataError(f"{missing[0]} went away while it was read: run prepare again")
    return [result for result in decoded if result]


def _batches(listed: list[_Listed]) -> Iterator[list[tuple[int, bytes]]]:
    rows: dict[Path, dict[str, int]] = {}
    for row, item in enumerate(listed):
        rows.setdefault(item.source, {})[item.name] = row
    batch: list[tuple[int, bytes]] = []
    size = 0
    for source, names in rows.items():
        for name, data in sources.read_members(source, set(names)):
            batch.append((names[name], data))
            size += len(data)
            if len(batch) == _BATCH_IMAGES or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _decode_batch(
    images: store.StoreFile, crop: Crop | None, batch: list[tuple[int, bytes]]
) -> list[_Decoded]:
    """Decode, check, resize, hash and store pictures; runs in a worker process."""
    results = []
    with images.path.open("r+b") as file:
        for row, data in batch:
            digest = sha256(data).hexdigest()
            try:
                image: Image.Image | None = read_image(data)
            except ImageError as error:
                results.append(_Decoded(row, digest, None, f"unreadable: {error}"))
                continue
            if crop and (image := crop(image)) is None:
                results.append(_Decoded(row, digest, None, "no face found"))
                continue
            assert image is not None
            results.append(_Decoded(row, digest, audit.fingerprint(image), ""))
            images.write(file, row, square(image, images.size))
    return results


def _cluster(decoded: list[_Decoded], images: store.StoreFile) -> np.ndarray:
    """Number the clusters among the readable pictures; unreadable ones get -1."""
    usable = [item for item in decoded if not item.excluded]
    clusters = np.full(len(decoded), -1)
    with images.path.open("rb") as file:
        clusters[[item.row for item in usable]] = audit.find_clusters(
            [item.sha256 for item in usable],
            [item.fingerprint for item in usable if item.fingerprint],
            lambda index: images.read(file, usable[index].row),
        )
    return clusters


def _rows(
    listed: list[_Listed], decoded: list[_Decoded], clusters: np.ndarray, config: PrepareConfig
) -> list[store.ManifestRow]:
    usable = np.flatnonzero(clusters >= 0)
    if not len(usable):
        raise DataError(f"None of the {len(listed)} pictures can be used: {decoded[0].excluded}")
    ages = np.array([item.label.age for item in listed])
    splits = np.full(len(listed), "", dtype="<U5")
    splits[usable] = assign_splits(
        clusters[usable],
        Scheme.parse(config.scheme).groups_of(ages[usable]),
        [decoded[row].sha256 for row in usable],
        config.seed,
    )
    reasons = [item.excluded for item in decoded]
    if config.conflicts == "drop":
        spans = audit.age_spans(clusters[usable], ages[usable])
        for row in usable[(spans > CONFLICT_YEARS) & (splits[usable] == "train")]:
            reasons[row] = f"copies more than {CONFLICT_YEARS} years apart"
    return [
        store.ManifestRow(
            item.id, item.source.name, result.sha256, item.label.age, item.label.sex,
            item.label.race, int(cluster), str(split), reason,
        )  # fmt: skip
        for item, result, cluster, split, reason in zip(
            listed, decoded, clusters, splits, reasons, strict=True
        )
    ]


def _receipt(
    rows: list[store.ManifestRow], listed: list[_Listed], unlabelled: int, config: PrepareConfig
) -> dict[str, Any]:
    scheme = Scheme.parse(config.scheme)
    usable = [row for row in rows if row.split]
    clusters = np.array([row.cluster for row in usable])
    ages = np.array([row.age for row in usable])
    sizes = np.bincount(clusters)
    spans = np.zeros(len(sizes), dtype=int)
    spans[clusters] = audit.age_spans(clusters, ages)
    files = Counter(row.sha256 for row in usable)
    names = [*scheme.labels, "gap"]
    groups = scheme.groups_of(ages)
    counts = {name: dict.fromkeys(SPLITS, 0) for name in names}
    for row, group in zip(usable, groups.tolist(), strict=True):
        if not row.excluded:
            counts["gap" if group == NO_GROUP else names[group]][row.split] += 1
    return {
        "agecli_version": __version__,
        "options": asdict(config),
        "scheme": scheme.labels,
        "sources": sorted({row.source for row in rows}),
        "images": len(rows),
        "used": sum(sum(by_split.values()) for by_split in counts.values()),
        "counts": counts,
        "repaired_names": [item.id for item in listed if item.label.repaired],
        "unlabelled": unlabelled,
        "excluded": dict(sorted(Counter(row.excluded for row in rows if row.excluded).items())),
        "unreadable": {row.id: row.excluded for row in rows if not row.split},
        "clusters": {
            "of_several": int((sizes > 1).sum()),
            "images": int(sizes[sizes > 1].sum()),
            "identical_files": sum(count > 1 for count in files.values()),
            "conflicting_ages": int((spans > 0).sum()),
            "over_2_years": int((spans > 2).sum()),
            "over_5_years": int((spans > CONFLICT_YEARS).sum()),
        },
        "split_hash": split_hash([row.sha256 for row in usable], [row.split for row in usable]),
    }
