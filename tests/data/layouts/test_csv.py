"""How the paths of a CSV file are resolved, and what is rejected."""

import os
import tarfile

import pytest

from agecli.errors import DataError
from tests.data.layouts.made_up import adience, appa_real, fairface, labels, listing_of
from tests.data.pictures import write_set


def _csv(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "path",
    ["sub/a.jpg", "in/sub/a.jpg", "../in/sub/a.jpg", "{source}/sub/a.jpg", "sub/../sub/a.jpg"],
)
def test_paths_count_from_the_source_from_the_table_or_from_the_root(tmp_path, path):
    source = write_set(tmp_path / "in", ["sub/a.jpg", "b.jpg"])
    table = _csv(tmp_path / "tables/ages.csv", f"path,age\n{path.format(source=source)},7\n")
    assert [label.age.low for label in labels(source, labels=table).values()] == [7]


def test_a_relative_source_has_absolute_paths_too(tmp_path, monkeypatch):
    source = write_set(tmp_path / "in", ["a.jpg"])
    table = _csv(tmp_path / "ages.csv", f"path,age\n{source}/a.jpg,7\n")
    monkeypatch.chdir(tmp_path)
    assert len(labels(type(source)("in"), labels=type(table)("ages.csv"))) == 1


def test_an_archives_paths_count_from_its_top_folder_or_from_above(tmp_path):
    source = write_set(tmp_path / "in", ["a.jpg", "b.jpg"])
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(source, "top")
    table = _csv(tmp_path / "ages.csv", "path,age\na.jpg,7\ntop/b.jpg,8\n")
    found = labels(tmp_path / "in.tar", labels=table)
    assert {id: label.age.low for id, label in found.items()} == {"a.jpg": 7, "b.jpg": 8}


def test_two_rows_of_one_picture_under_two_paths_must_agree(tmp_path):
    source = write_set(tmp_path / "in", ["a.jpg"])
    table = _csv(tmp_path / "ages.csv", f"path,age\na.jpg,7\n{source}/a.jpg,8\n")
    with pytest.raises(DataError, match=r"lines 2 and 3: .* two labels, of ages 7 and 8"):
        labels(source, labels=table)
    table = _csv(tmp_path / "ages.csv", f"path,age\na.jpg,7\n{source}/a.jpg,7\n")
    assert len(labels(source, labels=table)) == 1


def test_labels_csv_in_a_source_is_found(tmp_path):
    source = write_set(tmp_path / "in", ["a.jpg"], {"Labels.csv": "file,age\na.jpg,25-32\n"})
    origin = listing_of(source).origins[source]
    assert (origin.layout, origin.by, origin.pictures) == ("csv", "Labels.csv", 1)
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as tar:
        tar.add(source, "in")
    assert labels(tmp_path / "in.tar.gz")["a.jpg"].age == (25, 32)


def test_tables_of_known_sets_are_read_by_csv_too(tmp_path):
    source = adience(tmp_path / "adience")
    found = labels(source, labels=source / "fold_2_data.txt")
    assert {label.fold for label in found.values()} == {2}
    source = fairface(tmp_path / "fairface") / "fairface-img-margin025-trainval"
    found = labels(source, labels=tmp_path / "fairface/fairface_label_val.csv")
    assert {label.split for label in found.values()} == {"val"}
    source = appa_real(tmp_path / "appa", faces=False)
    assert labels(source, labels=source / "gt_avg_valid.csv")["valid/000002.jpg"].age == (22, 22)


def test_a_table_is_for_the_sources_that_it_names(tmp_path):
    mine = write_set(tmp_path / "mine", ["a.jpg"])
    other = write_set(tmp_path / "groups", ["0-2/x.jpg"])
    table = _csv(tmp_path / "ages.csv", "path,age\na.jpg,7\n")
    listing = listing_of(other, mine, labels=table)
    assert [origin.layout for origin in listing.origins.values()] == ["folders", "csv"]
    with pytest.raises(DataError, match=r"No image of .*groups is named in .*ages\.csv"):
        listing_of(other, labels=table)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xfe\xe0 no text", "not a CSV file in UTF-8"),
        (b"path,age\n\xe4.jpg,3\n", "not a CSV file in UTF-8: save it as one"),
        (b'path,age\n"a.jpg,3\n', "not a CSV file"),
        (b"path,age\n" + b"x" * 200_000 + b",3\n", "not a CSV file"),
        (b"\xff\xfep\0a", "not a CSV file|no column"),
        (b"path,age\na.jpg,(25, 32)\n", r"line 2 \('\(25'\)"),
        (b"PK\3\4", "not a CSV file|no column"),
        (b"path,age,person\na.jpg,3," + b"x" * 5000, r"line 2 .*at most 100 characters"),
    ],
)
def test_a_broken_table_in_a_source_is_one_line(tmp_path, content, reason):
    source = write_set(tmp_path / "in", ["a.jpg"])
    (source / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=reason) as error:
        labels(source)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(os.fspath(tmp_path))
