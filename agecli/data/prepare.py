"""From sources to a data set: list, decode, audit, split, write; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from agecli.config import PrepareConfig
from agecli.data import audit, framing, sources, store
from agecli.data.decide import REASONS, Known, decide
from agecli.data.framing import Crop, Judge
from agecli.data.images import fit, read_image
from agecli.data.listing import Asked, Listed, list_pictures
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import Receipt
from agecli.data.split import SPLITS
from agecli.data.staging import check_free, staged
from agecli.data.workers import WorkerPool, default_workers
from agecli.errors import DataError, ImageError

_BATCH_IMAGES, _BATCH_BYTES = 32, 8 * 2**20

_File = tuple[int, bytes | ImageError, bool]
"""A row of the data set, the content of its picture's file, and whether its face is cropped."""

StageProgress = Callable[[str, int, int], None]
"""Called with the stage, what is done and what there is to do."""


class _Decoded(NamedTuple):
    row: int
    sha256: str
    excluded: str
    fingerprint: bytes = b""


def prepare(
    sources: Path | str | Iterable[Path | str],
    out: Path | str,
    config: PrepareConfig | None = None,
    *,
    labels: Path | None = None,
    names: str | None = None,
    layout: str | None = None,
    crop: Crop | None = None,
    judge: Judge | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: StageProgress = lambda stage, done, total: None,
) -> Receipt:
    """Make the data set `out` of folders and archives, and return its receipt.

    How a source carries its labels is recognised by what is in it, or said by one of labels (a CSV
    file), names (a pattern of file names) and layout (a known one's name). crop: a picklable
    function that finds the face in a photograph, as `faces.crop_largest`; judge: tells the sources
    for which that is needed, as `faces.judge`, in place of all. workers: processes, by default one
    per CPU. The folder appears under its name only when it is whole.
    Raises DataError for sources without pictures, for an `out` in use, and for too small a disk.
    """
    given = [sources] if isinstance(sources, Path | str) else sources
    origins, out = [Path(source) for source in given], Path(out)
    config = config or PrepareConfig()
    measure = audit.MEASURES[config.audit]
    check_free(out, force=force, inputs=[*origins, *([labels] if labels else [])])
    listing = list_pictures(origins, Asked(labels, names, layout))
    read = framing.decide(listing.origins, listing.samples, crop, judge)
    cropped = {path for path, origin in read.items() if origin.cropped}
    listed = listing.pictures
    progress("decode", 0, len(listed))
    with staged(out, needed=len(listed) * config.size**2 * 3) as folder:
        images = store.StoreFile(folder / store.IMAGES, len(listed), config.size)
        decode = partial(_decode_batch, images, crop, measure.fingerprint)
        decoded, prints = _decode(
            listed, cropped, decode, measure, workers or default_workers(), progress
        )
        progress("audit", 0, 1)
        clusters = _cluster(decoded, prints, images, measure)
        progress("audit", 1, 1)
        rows = _rows(listed, decoded, clusters, config)
        digest = write_manifest(folder / store.MANIFEST, rows)
        receipt = Receipt.of(
            rows, config, manifest=digest, origins=list(read.values()), missing=listing.missing,
            unused_columns=listing.unused,
            skipped=listing.skipped, closed=listing.closed,
            repaired_names=[item.id for item in listed if item.label.repaired],
        )  # fmt: skip
        receipt.write(folder / store.RECEIPT)
    return receipt


def _decode(
    listed: list[Listed],
    cropped: set[Path],
    decode: Callable[[Sequence[_File]], Iterator[_Decoded]],
    measure: audit.Measure,
    workers: int,
    progress: StageProgress,
) -> tuple[list[_Decoded], np.ndarray]:
    """Decode and store everything; both results have an item per row."""
    decoded: list[_Decoded | None] = [None] * len(listed)
    prints = np.zeros(len(listed), dtype=measure.FINGERPRINT)
    done = 0
    with WorkerPool(workers) as pool:
        for result in pool.map(decode, _batches(listed, cropped), _unreadable):
            decoded[result.row] = result
            if not result.excluded:
                prints[result.row] = np.frombuffer(result.fingerprint, measure.FINGERPRINT)[0]
            done += 1
            progress("decode", done, len(listed))
    gone = ImageError("went away while it was read")
    rows = enumerate(decoded)
    return [result or _unreadable((row, gone, False), str(gone)) for row, result in rows], prints


def _batches(listed: list[Listed], cropped: set[Path]) -> Iterator[list[_File]]:
    rows: dict[Path, dict[str, int]] = {}
    for row, item in enumerate(listed):
        rows.setdefault(item.path, {})[item.name] = row
    batch: list[_File] = []
    size = 0
    for source, names in rows.items():
        for name, data in sources.read_members(source, set(names)):
            batch.append((names[name], data, source in cropped))
            size += len(data) if isinstance(data, bytes) else 0
            if len(batch) == _BATCH_IMAGES or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _decode_batch(
    images: store.StoreFile,
    crop: Crop | None,
    fingerprint: Callable[[Image.Image], np.ndarray],
    batch: Sequence[_File],
) -> Iterator[_Decoded]:
    """Decode, check, resize, hash and store pictures; runs in a worker process."""
    with images.path.open("r+b") as file:
        for row, data, cropped in batch:
            try:
                image = _decode_image(data, crop if cropped else None)
            except ImageError as error:
                yield _unreadable((row, data, cropped), str(error))
                continue
            if image is None:
                yield _Decoded(row, _digest(data), "no face found")
                continue
            image = fit(image, images.size)
            images.write(file, row, np.asarray(image))
            file.flush()  # the next picture may end this process
            yield _Decoded(row, _digest(data), "", fingerprint(image).tobytes())


def _decode_image(data: bytes | ImageError, crop: Crop | None) -> Image.Image | None:
    if isinstance(data, ImageError):
        raise data
    image = read_image(data)
    return crop(image) if crop else image


def _unreadable(file: _File, reason: str) -> _Decoded:
    row, data, _ = file
    return _Decoded(row, _digest(data), f"unreadable: {reason}")


def _digest(data: bytes | ImageError) -> str:
    """Hash what could be read of a file."""
    return sha256(data if isinstance(data, bytes) else b"").hexdigest()


def _cluster(
    decoded: list[_Decoded], prints: np.ndarray, images: store.StoreFile, measure: audit.Measure
) -> np.ndarray:
    """Number the clusters among the readable pictures; unreadable ones get -1."""
    usable = np.array([item.row for item in decoded if not item.excluded], dtype=np.int64)
    clusters = np.full(len(decoded), -1)
    with images.path.open("rb") as file:
        clusters[usable] = audit.find_clusters(
            [decoded[row].sha256 for row in usable],
            prints[usable],
            lambda index: images.read(file, usable[index]),
            measure,
        )
    return clusters


def _rows(
    listed: list[Listed], decoded: list[_Decoded], clusters: np.ndarray, config: PrepareConfig
) -> list[ManifestRow]:
    usable = np.flatnonzero(clusters >= 0)
    if not len(usable):
        raise DataError(f"None of the {len(listed)} pictures can be used: {decoded[0].excluded}")
    decided = decide(_known(listed, decoded, clusters), config)
    splits = [SPLITS[place] if place >= 0 else "" for place in decided.splits.tolist()]
    reasons = [
        item.excluded or REASONS[reason]
        for item, reason in zip(decoded, decided.reasons.tolist(), strict=True)
    ]
    return [
        ManifestRow(
            id=item.id,
            source=item.source,
            sha256=result.sha256,
            age=item.label.age,
            sex=item.label.sex,
            race=item.label.race,
            person=item.label.person,
            fold=fold,
            cluster=cluster,
            split=split,
            excluded=reason,
        )
        for item, result, cluster, split, fold, reason in zip(
            listed, decoded, clusters.tolist(), splits, decided.folds.tolist(), reasons,
            strict=True,
        )
    ]  # fmt: skip


def _known(listed: list[Listed], decoded: list[_Decoded], clusters: np.ndarray) -> Known:
    digests = b"".join(bytes.fromhex(item.sha256) for item in decoded)
    sources: dict[str, int] = {}
    persons: dict[tuple[str, str], int] = {}
    people = [
        persons.setdefault((item.source, item.label.person), len(persons))
        if item.label.person
        else -1
        for item in listed
    ]
    places = {split: place for place, split in enumerate(SPLITS)}
    return Known(
        clusters=clusters,
        ages=np.array([item.label.age for item in listed]),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
        sources=np.array([sources.setdefault(item.source, len(sources)) for item in listed]),
        persons=np.array(people),
        splits=np.array([places.get(item.label.split, -1) for item in listed]),
        folds=np.array([item.label.fold for item in listed]),
    )
