"""Ages and words as people write them."""

import pytest

from agecli.ages import OLDEST, Age
from agecli.data.labels import read_age, read_fold, read_split, read_word


@pytest.mark.parametrize(
    "text", ["34", "34.6", " 34.0 ", "34.", "034", "34 years", "34y", "34 Yrs Old"]
)
def test_a_year_is_read(text):
    assert read_age(text) == Age(34, 34)


@pytest.mark.parametrize(
    "text",
    ["25-32", "25 - 32", "25–32", "25 to 32", "(25, 32)", "(25,32)", "[25, 32]", "[25,33)",
     "(24, 32]", "(25-32)", "25..32", "25-32 years", "25.0-32.0"],
)  # fmt: skip
def test_a_range_is_read(text):
    assert read_age(text) == Age(25, 32)


@pytest.mark.parametrize(
    "text",
    ["60+", "60 +", "more than 60", "More_than_60", "over 60", "60 and older", "60 or over", ">=60",
     "60+ years"],
)  # fmt: skip
def test_an_open_range_ends_with_the_oldest(text):
    assert read_age(text) == Age(60, OLDEST)


@pytest.mark.parametrize("text", ["under 5", "<5", "less than 5", "0-4"])
def test_a_range_may_begin_at_birth(text):
    assert read_age(text) == Age(0, 4)


@pytest.mark.parametrize(
    "text",
    ["", "old", "-31", "-0.5", "121", "2014", "nan", "inf", "1e400", "32-25", "25-132", "25,32",
     "[25,25)", "(25, 32", "adult", "02-Mar", "1" * 500, "٣٤"],
)  # fmt: skip
def test_what_is_not_an_age_is_none(text):
    assert read_age(text) is None


def test_every_age_reads_what_it_writes():
    for age in (Age(0, 0), Age(0, 2), Age(60, OLDEST), Age(60, 100), Age(120, 120)):
        assert read_age(str(age)) == Age.parse(str(age)) == age


def test_words_and_codes_are_mapped_and_other_words_kept():
    assert [read_word("sex", text) for text in ("M", "1", "Woman", "u", "girl")] == [
        "male", "female", "female", "", "girl",
    ]  # fmt: skip
    fairface = ["East Asian", "Southeast Asian", "Latino_Hispanic", "Middle Eastern"]
    assert [read_word("race", text) for text in fairface] == fairface
    assert [read_word("race", text) for text in ("3", "asian")] == ["Indian", "Asian"]


@pytest.mark.parametrize("text", ["", "NaN", "unknown", "None", "n/a"])
def test_an_unknown_person_is_nobody(text):
    assert read_word("person", text) == read_word("sex", text) == read_word("race", text) == ""


def test_splits_and_folds_are_read():
    assert [read_split(text) for text in ("Training", "valid", "dev", "TEST", "later")] == [
        "train", "val", "val", "test", "",
    ]  # fmt: skip
    assert [read_fold(text) for text in ("0", "fold_3", "Fold 4", "", "-1", "1000", "x")] == [
        0, 3, 4, -1, -1, -1, -1,
    ]  # fmt: skip
