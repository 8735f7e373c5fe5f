"""FairFace: tables of ranges, of two margins."""

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.errors import DataError
from tests.data.layouts.made_up import fairface, labels, listing_of

MARGIN = "fairface-img-margin025-trainval"


def test_ranges_sexes_races_and_splits_are_read(tmp_path):
    found = labels(fairface(tmp_path / "fairface"))
    assert found == {
        f"{MARGIN}/train/1.jpg": Label(Age(0, 2), "male", "East Asian", "train"),
        f"{MARGIN}/train/2.jpg": Label(Age(70, 120), "female", "Indian", "train"),
        f"{MARGIN}/train/3.jpg": Label(Age(20, 29), "male", "Latino_Hispanic", "train"),
        f"{MARGIN}/train/4.jpg": Label(Age(3, 9), "female", "Middle Eastern", "train"),
        f"{MARGIN}/val/1.jpg": Label(Age(3, 9), "male", "White", "val"),
        f"{MARGIN}/val/2.jpg": Label(Age(60, 69), "female", "Black", "val"),
    }


def test_the_margins_folder_alone_finds_the_tables_beside_it(tmp_path):
    source = fairface(tmp_path / "fairface") / MARGIN
    listing = listing_of(source)
    assert listing.origins[source].pictures == 6
    assert listing.origins[source].layout == "fairface"
    assert listing.unused == ["service_test"]


def test_two_margins_of_the_same_pictures_are_refused(tmp_path):
    source = fairface(tmp_path / "fairface")
    fairface(source, "fairface-img-margin125-trainval")
    with pytest.raises(DataError, match=r"fairface_label_\w+.csv line \d: .* several images"):
        labels(source)


def test_lines_without_a_picture_are_counted(tmp_path):
    source = fairface(tmp_path / "fairface")
    (source / MARGIN / "train/1.jpg").unlink()
    assert listing_of(source).missing == 1
