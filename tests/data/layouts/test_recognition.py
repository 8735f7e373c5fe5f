"""A source tells its layout, whatever lies beside it; several sources make one data set."""

import pytest

from agecli.data.archives import Place
from agecli.data.layouts.base import SAMPLE, Source
from agecli.data.sources import Member
from agecli.errors import DataError, UsageError
from tests.data.layouts.made_up import adience, appa_real, fairface, labels, listed, listing_of
from tests.data.pictures import write_set, write_textured


@pytest.fixture
def sets(tmp_path):
    write_textured(tmp_path / "UTKFace", [3, 30, 70])
    return {
        "utkface": tmp_path / "UTKFace",
        "adience": adience(tmp_path / "adience"),
        "fairface": fairface(tmp_path / "fairface"),
        "appa-real": appa_real(tmp_path / "appa-real-release"),
        "folders": write_set(tmp_path / "groups", ["0-2/1.jpg", "66+/1.jpg"]),
        "csv": write_set(tmp_path / "mine", ["a.jpg"], {"labels.csv": "path,age\na.jpg,3\n"}),
    }


def test_all_sets_at_once_are_each_recognised(sets):
    listing = listing_of(*sets.values())
    assert [origin.layout for origin in listing.origins.values()] == list(sets)
    sources = {item.source for item in listed(*sets.values())}
    assert sources == {path.name for path in sets.values()}
    assert list(listing.samples) == [path for name, path in sets.items() if name != "utkface"]


def test_a_named_layout_is_used_where_it_fits(sets):
    for name, path in sets.items():
        assert listing_of(path, layout=name).origins[path].layout == name
    with pytest.raises(DataError, match="does not have the layout fairface: "):
        labels(sets["utkface"], layout="fairface")


def test_two_ways_to_say_it_are_refused(sets, tmp_path):
    with pytest.raises(UsageError, match="--csv, --names and --layout exclude each other"):
        labels(sets["utkface"], names="agedb", layout="utkface")
    with pytest.raises(UsageError, match="--layout: 'imdb' is not one of adience, fairface"):
        labels(sets["utkface"], layout="imdb")


def test_tables_of_other_sets_beside_a_source_are_ignored(sets, tmp_path):
    for name in ("fold_0_data.txt", "fairface_label_train.csv", "gt_avg_train.csv", "labels.csv"):
        (tmp_path / name).write_bytes(b"\0 broken")
    for name, path in sets.items():
        assert listing_of(path).origins[path].layout == name


def test_a_sample_does_not_depend_on_the_order(tmp_path):
    members = [Member(f"top/{i}.jpg", f"{i}.jpg", Place("")) for i in range(1000)]
    one, other = (Source(tmp_path, "x", part, {}).sample for part in (members, members[::-1]))
    assert one == other
    assert len(one) == SAMPLE


def test_one_labelled_picture_among_many_is_found(tmp_path):
    names = [f"notes {i}.jpg" for i in range(SAMPLE + 50)]
    source = write_set(tmp_path / "in", [*names, "30_0_0_20170101000000001.jpg"])
    assert len(labels(source)) == 1
