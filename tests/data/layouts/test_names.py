"""File names that carry labels, by a pattern."""

import time

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.data.layouts.names import compile_pattern
from agecli.errors import DataError, UsageError
from tests.data.layouts.made_up import labels
from tests.data.pictures import write_set


@pytest.mark.parametrize(
    ("pattern", "name", "label"),
    [
        ("agedb", "0_PersonOne_35_f.jpg", Label(Age(35, 35), "female", person="PersonOne")),
        ("cacd", "53_Person_Number_Two_0001.jpg", Label(Age(53, 53), person="Person_Number_Two")),
        ("fgnet", "001A02.JPG", Label(Age(2, 2), person="001")),
        ("fgnet", "082A43a.JPG", Label(Age(43, 43), person="082")),
        ("{identity}-{age}-{sex}-{race}.png", "7-25-1-3.png",
         Label(Age(25, 25), "female", "Indian", person="7")),
        ("{age}_*.jpg", "20-29_x_y.jpg", Label(Age(20, 29))),
        ("{age} {gender}*", "60+ m 3.jpeg", Label(Age(60, 120), "male")),
        ("{person}/{age}.*", "deep/p3/17.jpg", Label(Age(17, 17), person="p3")),
        ("fold{fold}/{split}_{age}.*", "fold2/valid_17.jpg",
         Label(Age(17, 17), split="val", fold=2)),
    ],
)  # fmt: skip
def test_a_pattern_says_what_a_name_means(tmp_path, pattern, name, label):
    source = write_set(tmp_path / "in", [name, "notes.jpg"])
    assert labels(source, names=pattern) == {name: label}


@pytest.mark.parametrize("pattern", ["agedb", "cacd", "fgnet"])
def test_patterns_of_other_sets_do_not_fit_utkfaces_names(pattern):
    compiled = compile_pattern(pattern)
    for name in ("8_0_0_20170101000000001.jpg.chip.jpg", "61_1_20170109150557335.jpg.chip.jpg"):
        assert not compiled.fullmatch(name)


def test_folders_of_splits_count_beside_names(tmp_path):
    source = write_set(tmp_path / "in", ["train/3_a.jpg", "test/4_b.jpg"])
    found = labels(source, names="{age}_{identity}.*")
    assert {id: label.split for id, label in found.items()} == {
        "train/3_a.jpg": "train", "test/4_b.jpg": "test",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{identity}_{sex}.jpg", "it has no {age}"),
        ("{age}{sex}.jpg", "two fields are not separated"),
        ("{age}_{sex}_{gender}.jpg", "two fields mean the same"),
        ("{age_.jpg", "a brace is unmatched"),
        ("", "it has no {age}"),
        ("{age}_***", "more than two *"),
        ("{age}" + "x" * 500, "more than 200 characters"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(pattern, reason):
    with pytest.raises(UsageError, match="--names") as error:
        compile_pattern(pattern)
    assert reason in str(error.value)
    assert len(str(error.value)) < 250


def test_names_that_do_not_fit_are_refused_with_the_pattern(tmp_path):
    source = write_set(tmp_path / "in", ["a.jpg"])
    with pytest.raises(DataError, match=r"No file name in .*in matches --names agedb"):
        labels(source, names="agedb")


def test_a_pattern_is_not_a_regular_expression(tmp_path):
    source = write_set(tmp_path / "in", ["a+(1)_30.jpg", "aa1_30.jpg"])
    assert list(labels(source, names="a+(1)_{age}.jpg")) == ["a+(1)_30.jpg"]


def test_no_name_takes_long():
    pattern = compile_pattern("{a}_{b}_{identity}_{age}_*_*.jpg")
    start = time.process_time()
    for name in ("_1" * 100, "1_" * 100, "_" * 200):
        assert not pattern.fullmatch(name)
    assert time.process_time() - start < 2
