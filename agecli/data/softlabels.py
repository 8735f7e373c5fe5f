"""Soft labels: a distribution over years or age groups for each image, from any origin.

A CSV file with a row per image: its `id` as in manifest.csv (and `source`, if an id is in
several), and its probabilities in the columns 0 to 100, or in those named by the data set's groups.
They can be annotators' votes, predictions of another model, or of `evaluate --out-of-fold`.
In the latter a column `split_hash` names the split on which training with them is valid.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from agecli.ages import YEARS, FloatArray, IntArray
from agecli.data.dialects import rows_of
from agecli.data.named import Named, read_file
from agecli.data.split import Array
from agecli.data.store import Dataset
from agecli.data.tables import Fault, Faults
from agecli.errors import DataError

OPTION = "--soft-labels"
OF_YEARS = [str(year) for year in range(YEARS)]
"""The columns of a distribution over years."""
TOLERANCE = 0.05
"""How far a row's sum may differ from 1, as rounded probabilities do."""


@dataclass(frozen=True)
class SoftLabels:
    """The soft labels of a data set's images."""

    sha256: str
    """SHA-256 of the file."""
    table: FloatArray
    """(L + 1, YEARS or groups): a row per row of the file, which sums to 1; the last is zeros."""
    places: Array
    """(N,) the row of each image in the table; -1, the last, for none."""
    unknown: int
    """Number of rows that match no image."""
    by_models: bool = False
    """Whether they are out-of-fold predictions, of models that have seen the other images."""

    def of(self, rows: IntArray) -> FloatArray:
        """Return the soft labels (B, YEARS or groups) of rows (B,); zeros for none."""
        return self.table[self.places[rows]]

    @property
    def seen(self) -> IntArray:
        """Return the rows (n,) of the images that the models behind them have seen."""
        return np.flatnonzero(self.places >= 0) if self.by_models else np.empty(0, np.int64)

    def count(self, rows: IntArray) -> int:
        """Count the images of rows (n,) that have a soft label."""
        return int((self.places[rows] >= 0).sum())


def read_soft_labels(path: Path, dataset: Dataset) -> SoftLabels:
    """Read the soft labels of a data set's images.

    Raises DataError for any other file; all faulty lines are named: with values
    that are not probabilities or do not sum to about 1, with several rows of one image, and from
    models that may have seen validation or test images of this split.
    """
    content = read_file(OPTION, path)
    rows = rows_of(str(path), content)
    header = [title.casefold() for title in next(rows, (0, [""]))[1]]
    places = _columns(path, header, dataset.scheme.labels)
    named, faults, values = Named(str(path), "source" in header), Faults(), array("f")
    for line, row in rows:
        cells = dict(zip(header, row, strict=False))
        fault = _check_name(named, cells, dataset.split_hash)
        read = _distribution([row[place] if place < len(row) else "" for place in places])
        if isinstance(read, Fault):
            fault = fault or read
        else:
            values.extend(read)
        if fault:
            faults.add(fault, str(path), line)
    if faults.found:
        raise DataError(str(faults))
    table = np.zeros((len(named.rows) + 1, len(places)), np.float32)
    table[:-1] = np.frombuffer(values, np.float32).reshape(-1, len(places))
    table[:-1] /= table[:-1].sum(axis=1, keepdims=True)
    found = np.array([*map(named.place, dataset.ids.tolist(), dataset.sources.tolist())], np.int32)
    digest, by_models = sha256(content).hexdigest(), "split_hash" in header
    return SoftLabels(digest, table, found, named.unknown, by_models)


def _columns(path: Path, header: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Return the columns of the probabilities, of years or else of groups."""
    if "id" not in header:
        raise DataError(f"{path} has no column id: its first line must name it ({OPTION})")
    for columns in (OF_YEARS, labels):
        if all(name in header for name in columns):
            return [header.index(name) for name in columns]
    lacking = " and ".join(name for name in labels if name not in header)
    raise DataError(
        f"{path} has no column {lacking}: add one for each group, {', '.join(labels)}, or for "
        f"each year, 0 to {YEARS - 1} ({OPTION})"
    )


def _check_name(named: Named, cells: dict[str, str], split_hash: str) -> Fault | None:
    """Add a row's image to those named; return what is wrong with it."""
    id = cells.get("id", "")
    if cells.get("split_hash", "") not in ("", split_hash):
        return Fault(
            "the model behind it may have seen validation or test images of this training: "
            "`agecli train --fold K --within-train` trains models that have not", id,
        )  # fmt: skip
    if not id:
        return Fault("each line needs the id of an image, as in manifest.csv", "")
    if named.add(id, cells.get("source", "")):
        return None
    return Fault("an image has one row: keep the right one", id)


def _distribution(cells: list[str]) -> list[float] | Fault:
    """Return a row's probabilities, or what is wrong with them."""
    values = []
    for cell in cells:
        try:
            values.append(float(cell))
        except ValueError:
            values.append(math.nan)
        if not 0 <= values[-1] < math.inf:
            return Fault("a probability is a number of 0 or more", cell)
    if abs(math.fsum(values) - 1) > TOLERANCE:
        return Fault("the probabilities of an image sum to 1", f"{math.fsum(values):g}")
    return values
