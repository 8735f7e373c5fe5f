"""Soft labels of a data set, as people's files have them."""

from pathlib import Path

import numpy as np
import pytest

from agecli.data.softlabels import read_soft_labels
from agecli.data.store import Dataset, open_dataset
from agecli.errors import DataError

GROUPS = ["0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+"]


@pytest.fixture(scope="module")
def dataset(dataset_folder: Path) -> Dataset:
    return open_dataset(dataset_folder)


def write(path: Path, header: list[str], *rows: list[object], delimiter: str = ",") -> Path:
    lines = [delimiter.join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def votes(*shares: float) -> list[float]:
    return [*shares, *[0.0] * (8 - len(shares))]


def test_groups_and_years_are_recognised_by_their_columns(dataset: Dataset, tmp_path: Path):
    first, second = dataset.ids[[7, 3]]
    years = np.random.default_rng(0).dirichlet(np.ones(101))
    for header, row in ((GROUPS, votes(0.25, 0.75)), ([*map(str, range(101))], years)):
        rows = [["x", first, *row], ["", second, *row[::-1]], ["y", "gone.jpg", *row]]
        path = write(tmp_path / "a.csv", ["note", "id", *header], *rows)
        soft = read_soft_labels(path, dataset)
        found = soft.of(np.array([3, 5, 7]))
        np.testing.assert_allclose(found, [row[::-1], np.zeros(len(row)), row], rtol=1e-6)
        assert soft.unknown == 1
        assert soft.count(np.arange(8)) == 2


def test_columns_may_be_in_any_order_and_dialect(dataset: Dataset, tmp_path: Path):
    header = [*GROUPS[::-1], "ID"]
    path = write(tmp_path / "a.csv", header, [*votes(0.9, 0.1), dataset.ids[0]], delimiter=";")
    soft = read_soft_labels(path, dataset)
    np.testing.assert_allclose(soft.of(np.array([0]))[0, ::-1], votes(0.9, 0.1), rtol=1e-6)


def test_what_is_rounded_is_made_whole(dataset: Dataset, tmp_path: Path):
    path = write(tmp_path / "a.csv", ["id", *GROUPS], [dataset.ids[0], *votes(0.33, 0.33, 0.33)])
    row = read_soft_labels(path, dataset).of(np.array([0]))[0]
    assert row.sum() == pytest.approx(1)
    assert row[:3] == pytest.approx(1 / 3)


def test_all_lines_at_fault_are_named_at_once(dataset: Dataset, tmp_path: Path):
    rows = [
        [dataset.ids[0], *votes(1)],
        ["b.jpg", *votes(0.5, 0.4)],
        ["c.jpg", *votes(-0.1, 1.1)],
        ["d.jpg", *votes(float("nan"), 1)],
        ["e.jpg", *votes(float("inf"))],
        ["f.jpg", 1],
        ["", *votes(1)],
        [dataset.ids[0], *votes(0, 1)],
        ["g.jpg", *votes(1, 1)],
    ]
    path = write(tmp_path / "votes.csv", ["id", *GROUPS], *rows)
    with pytest.raises(DataError) as caught:
        read_soft_labels(path, dataset)
    text = str(caught.value)
    assert "\n" not in text
    assert "votes.csv lines 3 ('0.9'), 10 ('2'): the probabilities of an image sum to 1" in text
    faulty = "lines 4 ('-0.1'), 5 ('nan'), 6 ('inf'), 7 (''): a probability is a number of 0 or"
    assert faulty in text
    assert "line 8 (''): each line needs the id" in text
    assert f"line 9 ('{dataset.ids[0][:20]}" in text
    assert "an image has one row" in text


def test_columns_that_are_missing_are_named(dataset: Dataset, tmp_path: Path):
    path = write(tmp_path / "a.csv", ["id", *GROUPS[:-2]], ["x", 1])
    with pytest.raises(DataError, match=r"a.csv has no column 48-53 and 60\+: add one for each"):
        read_soft_labels(path, dataset)
    path = write(tmp_path / "a.csv", [*GROUPS, "id"], votes(1))
    with pytest.raises(DataError, match=r"a.csv line 2 \(''\): each line needs the id"):
        read_soft_labels(path, dataset)
    path = write(tmp_path / "a.csv", ["path", *GROUPS], ["x", 1])
    with pytest.raises(DataError, match=r"a.csv has no column id"):
        read_soft_labels(path, dataset)
    with pytest.raises(DataError, match=r"gone.csv \(--soft-labels\)"):
        read_soft_labels(tmp_path / "gone.csv", dataset)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b.csv is not a CSV file in UTF-8"):
        read_soft_labels(tmp_path / "b.csv", dataset)
