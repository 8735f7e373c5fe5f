"""From sources to a data set: list, decode, audit, split, write; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from agecli.ages import Scheme
from agecli.config import PrepareConfig
from agecli.data import audit, sources, store
from agecli.data.images import fit, read_image
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import CONFLICT_YEARS, Receipt
from agecli.data.split import assign_splits
from agecli.data.staging import check_free, staged
from agecli.data.workers import WorkerPool, default_workers
from agecli.errors import DataError, ImageError

_BATCH_IMAGES, _BATCH_BYTES = 32, 8 * 2**20

_Batch = list[tuple[int, bytes]]
"""Rows of the data set, and the files of their pictures."""

Crop = Callable[[Image.Image], Image.Image | None]
StageProgress = Callable[[str, int, int], None]
"""Called with the stage, what is done and what there is to do."""


@dataclass(frozen=True, slots=True)
class _Listed:
    id: str
    source: str
    path: Path
    """The folder or archive, of which `source` is the name."""
    name: str
    label: sources.Label


class _Listing(NamedTuple):
    pictures: list[_Listed]
    """Sorted by id: their order is their row in the data set."""
    unlabelled: int
    """Pictures without an age."""
    missing: int
    """Lines of the CSV file without a picture."""


class _Decoded(NamedTuple):
    row: int
    sha256: str
    excluded: str


_DecodedBatch = tuple[list[_Decoded], audit.Fingerprints]


def prepare(
    sources: Path | str | Iterable[Path | str],
    out: Path | str,
    config: PrepareConfig | None = None,
    *,
    labels: Path | None = None,
    crop: Crop | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: StageProgress = lambda stage, done, total: None,
) -> Receipt:
    """Make the data set `out` of folders and archives, and return its receipt.

    labels: a CSV file of ages, in place of UTKFace's file names. crop: a picklable function that
    finds the face in a photograph, as `faces.crop_largest`. workers: processes, by default one per
    CPU. The folder appears under its name only when it is whole.
    Raises DataError for sources without pictures, for an `out` in use, and for too small a disk.
    """
    given = [sources] if isinstance(sources, Path | str) else sources
    origins, out = [Path(source) for source in given], Path(out)
    config = config or PrepareConfig()
    check_free(out, force=force, inputs=[*origins, *([labels] if labels else [])])
    listing = _list(origins, labels)
    listed = listing.pictures
    progress("decode", 0, len(listed))
    with staged(out, needed=len(listed) * config.size**2 * 3) as folder:
        images = store.StoreFile(folder / store.IMAGES, len(listed), config.size)
        decoded, prints = _decode(listed, images, crop, workers or default_workers(), progress)
        progress("audit", 0, 1)
        clusters = _cluster(decoded, prints, images)
        progress("audit", 1, 1)
        rows = _rows(listed, decoded, clusters, config)
        digest = write_manifest(folder / store.MANIFEST, rows)
        receipt = Receipt.of(
            rows, config, manifest=digest, unlabelled=listing.unlabelled, missing=listing.missing,
            repaired_names=[item.id for item in listed if item.label.repaired],
        )  # fmt: skip
        receipt.write(folder / store.RECEIPT)
    return receipt


def _list(origins: list[Path], labels: Path | None) -> _Listing:
    """List the labelled pictures; a source that has none was not meant as one."""
    known = sources.read_labels(labels) if labels else None
    listed: list[_Listed] = []
    unlabelled, used = 0, set()
    for origin in {path.resolve(): path for path in origins}.values():
        source, members, before = sources.name_of(origin), sources.list_members(origin), len(listed)
        for name, id in members:
            if known is None:
                label = sources.label_of_name(id.rpartition("/")[2])
            else:
                path = id if id in known else name
                label = known.get(path)
                used.add(path)
            if label:
                listed.append(_Listed(id, source, origin, name, label))
        unlabelled += len(members) - (len(listed) - before)
        if not members:
            raise DataError(f"No pictures in {origin}: give a folder or archive that has some")
        if len(listed) == before and known:
            raise DataError(f"No picture of {origin} is named in {labels}: paths count from there")
        if len(listed) == before:
            raise DataError(
                f"No file name in {origin} starts with an age, as UTKFace's do "
                "(age_sex_race_datetime.jpg): give the ages with --csv"
            )
    listed.sort(key=lambda item: (item.id, item.source))
    return _Listing(listed, unlabelled, len(known.keys() - used) if known else 0)


def _decode(
    listed: list[_Listed],
    images: store.StoreFile,
    crop: Crop | None,
    workers: int,
    progress: StageProgress,
) -> tuple[list[_Decoded], audit.Fingerprints]:
    """Decode and store everything; both results have an item per row."""
    decoded: list[_Decoded | None] = [None] * len(listed)
    prints = np.zeros(len(listed), dtype=audit.FINGERPRINT)
    done = 0
    decode: Callable[[_Batch], _DecodedBatch] = partial(_decode_batch, images, crop)
    with WorkerPool(workers) as pool:
        for results, batch_prints in pool.map(decode, _batches(listed)):
            for result in results:
                decoded[result.row] = result
            prints[[result.row for result in results]] = batch_prints
            done += len(results)
            progress("decode", done, len(listed))
    missing = [item.name for item, result in zip(listed, decoded, strict=True) if result is None]
    if missing:
        raise DataError(f"{missing[0]} went away while it was read: run prepare again")
    return [result for result in decoded if result], prints


def _batches(listed: list[_Listed]) -> Iterator[_Batch]:
    rows: dict[Path, dict[str, int]] = {}
    for row, item in enumerate(listed):
        rows.setdefault(item.path, {})[item.name] = row
    batch: _Batch = []
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


def _decode_batch(images: store.StoreFile, crop: Crop | None, batch: _Batch) -> _DecodedBatch:
    """Decode, check, resize, hash and store pictures; runs in a worker process."""
    results = []
    prints = np.zeros(len(batch), dtype=audit.FINGERPRINT)
    with images.path.open("r+b") as file:
        for index, (row, data) in enumerate(batch):
            excluded = ""
            try:
                image: Image.Image | None = read_image(data)
            except ImageError as error:
                image, excluded = None, f"unreadable: {error}"
            if image and crop:
                image = crop(image)
                excluded = "" if image else "no face found"
            if image:
                image = fit(image, images.size)
                images.write(file, row, np.asarray(image))
                prints[index] = audit.fingerprint(image)
            results.append(_Decoded(row, sha256(data).hexdigest(), excluded))
    return results, prints


def _cluster(
    decoded: list[_Decoded], prints: audit.Fingerprints, images: store.StoreFile
) -> np.ndarray:
    """Number the clusters among the readable pictures; unreadable ones get -1."""
    usable = np.array([item.row for item in decoded if not item.excluded], dtype=np.int64)
    clusters = np.full(len(decoded), -1)
    with images.path.open("rb") as file:
        clusters[usable] = audit.find_clusters(
            [decoded[row].sha256 for row in usable],
            prints[usable],
            lambda index: images.read(file, usable[index]),
        )
    return clusters


def _rows(
    listed: list[_Listed], decoded: list[_Decoded], clusters: np.ndarray, config: PrepareConfig
) -> list[ManifestRow]:
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
        ManifestRow(
            id=item.id,
            source=item.source,
            sha256=result.sha256,
            age=item.label.age,
            sex=item.label.sex,
            race=item.label.race,
            cluster=cluster,
            split=split,
            excluded=reason,
        )
        for item, result, cluster, split, reason in zip(
            listed, decoded, clusters.tolist(), splits.tolist(), reasons, strict=True
        )
    ]
