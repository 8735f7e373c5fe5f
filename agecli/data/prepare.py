"""From sources to a data set: list, decode, audit, split, write; completely or not at all."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecli.config import PrepareConfig
from agecli.data import audit, framing, store
from agecli.data.columns import Column
from agecli.data.decide import REASONS, Decided, Known, decide
from agecli.data.decoding import DIGEST, Decoder, Task, warm_up
from agecli.data.doubtful import read_doubtful
from agecli.data.framing import Crop, Judge
from agecli.data.listing import LabelOptions, Listed, Listing, Pictures, list_pictures
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import Receipt
from agecli.data.split import SPLITS, Array, Digests
from agecli.data.staging import check_free, room_in, staged
from agecli.data.workers import WorkerPool, default_workers
from agecli.errors import DataError

WORK = "work"
"""The folder for temporary files, which is removed at the end."""
_BATCH = 32

StageProgress = Callable[[str, int, int], None]
"""Called with the stage, the count done and the total."""


def prepare(
    sources: Path | str | Iterable[Path | str],
    out: Path | str,
    config: PrepareConfig | None = None,
    *,
    labels: Path | None = None,
    names: str | None = None,
    layout: str | None = None,
    doubtful: Path | None = None,
    slices: Sequence[str] = (),
    crop: Crop | None = None,
    judge: Judge | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: StageProgress = lambda stage, done, total: None,
) -> Receipt:
    """Make the data set `out` from folders and archives, and return its receipt.

    How a source is labelled is recognised by its contents, or given by one of labels (a CSV
    file), names (a pattern of file names) and layout (a known one's name). doubtful: a file with
    the ids of images not to train on. slices: columns of tables to keep, to evaluate by
    their values. crop: a picklable function that crops the face of a photograph, such as
    `faces.crop_largest`; judge: decides which sources need that, such as `faces.judge`; by
    default all. workers: processes, by default one per CPU. The folder gets its name only
    when it is complete.
    Raises DataError for sources without images, for an `out` in use, and for too small a disk.
    """
    given = [sources] if isinstance(sources, Path | str) else sources
    origins, out = [Path(source) for source in given], Path(out)
    config = config or PrepareConfig()
    check_free(out, force=force, inputs=[*origins, *filter(None, (labels, doubtful))])
    with staged(out) as folder, WorkerPool(workers or default_workers()) as pool:
        work = folder / WORK
        work.mkdir()
        with pool.starting(warm_up):
            listing = list_pictures(
                origins, work, LabelOptions(labels, names, layout, tuple(slices))
            )
        if doubtful:
            images = ((item.source, item.id) for item in listing.pictures)
            doubted = read_doubtful(doubtful, images)
            missing = listing.missing + doubted.unknown
            listing = listing._replace(doubtful=doubted, missing=missing)
        read = framing.decide(listing.origins, listing.samples, crop, judge)
        listing = listing._replace(origins=read)
        with room_in(folder, out, store.needed(len(listing.pictures), config)):
            receipt = _make(listing, folder, config, crop, pool, progress)
        shutil.rmtree(work)
    return receipt


def _make(
    listing: Listing, folder: Path, config: PrepareConfig, crop: Crop | None, pool: WorkerPool,
    progress: StageProgress,
) -> Receipt:  # fmt: skip
    """Decode, store and audit the images, and write manifest and receipt."""
    count, measure = len(listing.pictures), audit.MEASURES[config.audit]
    images = store.create(folder, count, config)
    traces = Column(folder / WORK / "traces", measure.TRACE, count)
    digests = Column(folder / WORK / "digests", DIGEST, count)
    decoder = Decoder(images, digests, traces, measure.fingerprint, measure.traces, crop)
    labels, reasons = _Labels(listing.doubtful.rows), _Reasons(count)
    progress("decode", 0, count)
    tasks = _tasks(listing, labels)
    pieces = iter(lambda: list(islice(tasks, _BATCH)), [])
    for row, reason in enumerate(pool.map(decoder, pieces, decoder.lose)):
        reasons[row] = reason
        if (row + 1) % _BATCH == 0 or row + 1 == count:
            progress("decode", row + 1, count)
    if reasons.codes.all():
        raise DataError(f"None of the {count} images can be used: {reasons[0]}")
    progress("audit", 0, 1)
    with digests.opened() as read:
        clusters = audit.find_clusters(read, reasons.codes == 0, traces, images, measure, pool)
        progress("audit", 1, 1)
        images.finish()
        return _write(listing, labels.known(read, clusters), reasons, folder, config)


def _tasks(listing: Listing, labels: _Labels) -> Iterator[Task]:
    """Yield the images to decode, recording their labels."""
    cropped = {str(path) for path, origin in listing.origins.items() if origin.cropped}
    for row, item in enumerate(listing.pictures):
        labels.add(item)
        yield Task(row, item.place, item.origin in cropped)


class _Labels:
    """The labels of the images as numbers, some bytes each; doubtful: rows with doubtful labels."""

    def __init__(self, doubtful: list[int]) -> None:
        self.doubtful = doubtful
        self.ages, self.splits, self.folds = array("h"), array("b"), array("i")
        self.sources, self.persons = array("i"), array("i")
        self._numbers: dict[str | tuple[str, str], int] = {}

    def add(self, item: Listed) -> None:
        """Record the label of the next row."""
        label = item.label
        self.ages.extend(label.age)
        self.splits.append(SPLITS.index(label.split) if label.split else -1)
        self.folds.append(label.fold)
        self.sources.append(self._number(item.source))
        self.persons.append(self._number((item.source, label.person)) if label.person else -1)

    def _number(self, name: str | tuple[str, str]) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def known(self, digests: Digests, clusters: Array) -> Known:
        """Return the facts by which images are assigned to splits."""
        return Known(
            clusters=clusters,
            ages=np.asarray(self.ages).reshape(-1, 2),
            digests=digests,
            sources=np.asarray(self.sources),
            persons=np.asarray(self.persons),
            splits=np.asarray(self.splits),
            folds=np.asarray(self.folds),
            doubtful=np.isin(np.arange(len(clusters)), self.doubtful),
        )


class _Reasons:
    """Why images are left out, a number for each."""

    def __init__(self, count: int) -> None:
        self.codes = np.zeros(count, np.int32)
        self._numbers = {"": 0}

    def __getitem__(self, row: int) -> str:
        return [*self._numbers][self.codes[row]]

    def __setitem__(self, row: int | NDArray[np.bool_], reason: str) -> None:
        if reason:
            self.codes[row] = self._numbers.setdefault(reason, len(self._numbers))

    def __iter__(self) -> Iterator[str]:
        texts = [*self._numbers]
        return (texts[code] for code in self.codes.data)

    def counts(self) -> dict[str, int]:
        """Count the images that are left out, by reason."""
        counts = np.bincount(self.codes, minlength=len(self._numbers)).tolist()
        found = sorted(zip(self._numbers, counts, strict=True))
        return {reason: count for reason, count in found if reason and count}


def _write(
    listing: Listing, known: Known, reasons: _Reasons, folder: Path, config: PrepareConfig
) -> Receipt:
    """Decide on splits and folds, and write manifest and receipt."""
    decided = decide(known, config)
    for number, reason in enumerate(REASONS):
        reasons[(decided.reasons == number) & (reasons.codes == 0)] = reason
    rows: Iterable[tuple[Any, ...]] = _rows(listing.pictures, known, decided, reasons)
    if kept := listing.pictures.kept:
        rows = (row + item.label.slices for row, item in zip(rows, listing.pictures, strict=True))
    digest = write_manifest(folder / store.MANIFEST, rows, kept)
    receipt = Receipt.of(
        known, decided.splits, reasons.codes == 0, config, manifest=digest,
        excluded=reasons.counts(), unreadable=_unreadable(listing.pictures, decided, reasons),
        repaired_names=listing.repaired, origins=[*listing.origins.values()],
        missing=listing.missing, unused_columns=listing.unused, skipped=listing.skipped,
        closed=listing.closed, doubtful=listing.doubtful.images,
    )  # fmt: skip
    receipt.write(folder / store.RECEIPT)
    return receipt


def _unreadable(pictures: Pictures, decided: Decided, reasons: Iterable[str]) -> dict[str, str]:
    """Return why images are in no split, by their ids."""
    if decided.splits.min() >= 0:
        return {}
    rows = zip(pictures, decided.splits.data, reasons, strict=True)
    return {item.id: reason for item, split, reason in rows if split < 0}


def _rows(
    pictures: Pictures, known: Known, decided: Decided, reasons: Iterable[str]
) -> Iterator[ManifestRow]:
    for item, digest, fold, cluster, split, reason in zip(
        pictures, known.digests, decided.folds.data, known.clusters.data, decided.splits.data,
        reasons, strict=True,
    ):  # fmt: skip
        yield ManifestRow(
            id=item.id,
            source=item.source,
            sha256=digest.tobytes().hex(),
            age=item.label.age,
            sex=item.label.sex,
            race=item.label.race,
            person=item.label.person,
            fold=fold,
            cluster=cluster,
            split=SPLITS[split] if split >= 0 else "",
            excluded=reason,
        )
