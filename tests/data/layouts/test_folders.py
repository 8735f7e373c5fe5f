"""Folders whose names are ages, below splits or not."""

import tarfile

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.data.layouts.folders import age_of_folder
from agecli.errors import DataError
from tests.data.layouts.made_up import labels
from tests.data.pictures import write_set


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("25", (25, 25)), ("001", (1, 1)), ("0-2", (0, 2)), ("20_29", (20, 29)),
        ("66+", (66, 120)), ("more_than_70", (70, 120)), ("age_25", (25, 25)),
        ("(25, 32)", (25, 32)), ("2017", None), ("young", None), ("img", None), ("1990-2010", None),
    ],
)  # fmt: skip
def test_a_folders_name_may_be_an_age(name, age):
    assert age_of_folder(name) == age


def test_a_folder_per_range_gives_ranges(tmp_path):
    source = write_set(tmp_path / "groups", ["0-2/1.jpg", "0-2/2.jpg", "66+/1.jpg", "x/9.jpg"])
    assert labels(source) == {
        "0-2/1.jpg": Label(Age(0, 2)), "0-2/2.jpg": Label(Age(0, 2)),
        "66+/1.jpg": Label(Age(66, 120)),
    }  # fmt: skip


@pytest.mark.parametrize("order", ["{split}/{age}/a.jpg", "{age}/{split}/a.jpg"])
def test_folders_of_splits_are_kept(tmp_path, order):
    pairs = [("Training", "25"), ("validation", "30"), ("test", "60+")]
    names = [order.format(split=split, age=age) for split, age in pairs]
    found = labels(write_set(tmp_path / "in", names))
    assert [found[name].split for name in names] == ["train", "val", "test"]
    assert [found[name].age.low for name in names] == [25, 30, 60]


def test_one_folder_of_a_split_parts_nothing(tmp_path):
    found = labels(write_set(tmp_path / "in", ["test/25/a.jpg", "test/30/b.jpg"]))
    assert {label.split for label in found.values()} == {""}


def test_a_source_may_be_a_class_itself(tmp_path):
    for name in ("3-7", "20-36"):
        write_set(tmp_path / name, ["a.jpg"])
    with tarfile.open(tmp_path / "20-36.tar", "w") as tar:
        tar.add(tmp_path / "20-36", "20-36")
    found = labels(tmp_path / "3-7")
    assert found == {"a.jpg": Label(Age(3, 7))}
    assert labels(tmp_path / "20-36.tar") == {"a.jpg": Label(Age(20, 36))}


def test_names_of_ages_win_over_folders_where_they_label_more(tmp_path):
    names = [f"{age}_0_0_2017010100000000{age}.jpg" for age in (1, 2, 3)]
    source = write_set(tmp_path / "in", [f"0-2/{name}" for name in names])
    assert sorted(label.age.low for label in labels(source).values()) == [1, 2, 3]
    source = write_set(tmp_path / "other", ["0-2/a.jpg", "0-2/b.jpg", f"0-2/{names[0]}"])
    assert {label.age for label in labels(source).values()} == {(0, 2)}


def test_other_folders_are_refused_in_one_line(tmp_path):
    source = write_set(tmp_path / "in", ["young/a.jpg", "old/b.jpg"])
    with pytest.raises(DataError, match="no folder is named by one: pass the ages by --csv"):
        labels(source)
