"""Accuracy of other packages that predict years, on the images of our test split.

    python tests/benchmarks/bench_peers.py crops ARCHIVE FOLDER --data data/utkface
    python tests/benchmarks/bench_peers.py score AGES.tsv... --data data/utkface

crops: write the test split's pictures, as they are in UTKFace.tar.gz, into a folder, for a script
that prints a line "file<TAB>age" for each. score: the figures of such lines. A year counts for the
nearest age group; a picture without an answer is wrong, and has no error in years.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agecli.data.sources import list_members, read
from agecli.data.store import Dataset, open_dataset
from agecli.evaluation.metrics import (
    confusion_matrix,
    exact_accuracy,
    mean_absolute_error,
    one_off_accuracy,
    wilson_interval,
)


def write_crops(dataset: Dataset, archive: Path, folder: Path) -> None:
    """Name the pictures by their number in the data set: some of UTKFace's names are odd."""
    rows = {dataset.ids[row]: row for row in dataset.rows("test")}
    folder.mkdir(parents=True)
    with TemporaryDirectory() as work:
        for member in list_members(archive, Path(work)).pictures:
            if member.id in rows:
                (folder / f"{rows[member.id]:05d}.jpg").write_bytes(read(member.place))


def score(dataset: Dataset, file: Path) -> str:
    """Return the figures of a script's predictions."""
    scheme = dataset.scheme
    with file.open(encoding="utf-8") as lines:
        ages = {int(Path(name).stem): float(age) for name, age in csv.reader(lines, delimiter="\t")}
    rows = dataset.rows("test")
    known = scheme.groups_of(dataset.ages[rows]) >= 0
    answered = np.array([row in ages for row in rows])
    truth = scheme.groups_of(dataset.ages[rows[known]])
    said = np.array([ages.get(row, np.nan) for row in rows])
    count = int(known.sum())
    both = known & answered
    confusion = confusion_matrix(
        scheme.groups_of(dataset.ages[rows[both]]),
        scheme.nearest_groups(np.round(said[both]).astype(int)),
        len(scheme),
    )
    share = both.sum() / count
    exact, one_off = exact_accuracy(confusion) * share, one_off_accuracy(confusion) * share
    low, high = wilson_interval(exact, count)
    error = mean_absolute_error(dataset.ages[rows[answered], 0], said[answered])
    return (
        f"{file.name}: exact {exact:.1%} ({low:.1%} – {high:.1%}), 1-off {one_off:.1%} of "
        f"{len(truth):,}, {int((known & ~answered).sum())} of them without an answer; MAE "
        f"{error:.2f} years on {int(answered.sum()):,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("crops", "score"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data/utkface"))
    wanted = parser.parse_args()
    dataset = open_dataset(wanted.data)
    if wanted.do == "crops":
        write_crops(dataset, *wanted.paths)
    else:
        for file in wanted.paths:
            print(score(dataset, file))


if __name__ == "__main__":
    main()
