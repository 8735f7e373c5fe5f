"""UTKFace's file names: age, sex and race, aligned or in the wild."""

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.data.layouts.utkface import label_of_name


@pytest.mark.parametrize("suffix", [".jpg.chip.jpg", ".jpg"])
def test_a_name_gives_age_sex_and_race(suffix):
    expected = Label(Age.parse("26"), "female", "Indian")
    assert label_of_name(f"26_1_3_20170104221633430{suffix}") == expected


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", 39),
        ("61_1_20170109142408075.jpg.chip.jpg", 61),
        ("61_1_20170109150557335.jpg.chip.jpg", 61),
    ],
)
def test_of_a_name_that_lacks_a_field_only_the_age_is_known(name, age):
    assert label_of_name(name) == Label(Age(age, age), "", "", repaired=True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (
            "24_0_1_20170116220224657 .jpg.chip.jpg",
            Label(Age(24, 24), "male", "Black", repaired=True),
        ),
        (
            "55_0_0_20170116232725357jpg.chip.jpg",
            Label(Age(55, 55), "male", "White", repaired=True),
        ),
    ],
)
def test_a_space_or_a_missing_dot_loses_nothing(name, label):
    assert label_of_name(name) == label


@pytest.mark.parametrize(
    "name",
    ["face.jpg", "IMG_20170101.jpg", "12.jpg", "121_0_0_20170101000000001.jpg", "2017_1.jpg"],
)
def test_other_names_carry_no_age(name):
    assert label_of_name(name) is None
