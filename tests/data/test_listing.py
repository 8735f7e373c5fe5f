"""Labels of images: by file name, or by the line of a CSV file."""

import unicodedata

import pytest

from agecli.data.listing import LabelOptions, list_pictures
from agecli.data.receipt import LeftOut
from agecli.errors import DataError
from tests.archives import draw_face


def _pictures(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw_face(30, seed=number).save(folder / name)
    return folder


def _list(tmp_path, origins, text):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    (tmp_path / "work").mkdir(exist_ok=True)
    return list_pictures(origins, tmp_path / "work", LabelOptions(tmp_path / "labels.csv"))


@pytest.mark.parametrize("path", ["sub\\a.jpg", "./sub/a.jpg", "in/sub/a.jpg", "in\\sub\\a.jpg"])
def test_a_path_counts_from_the_source_or_from_above_it(tmp_path, path):
    source = _pictures(tmp_path / "in", "sub/a.jpg", "b.jpg")
    listing = _list(tmp_path, [source], f"path,age\n{path},7\n")
    assert [(item.id, item.label.age.low) for item in listing.pictures] == [("sub/a.jpg", 7)]
    assert listing.missing == 0
    assert listing.origins[source].left_out == {"not in labels.csv": LeftOut(1, ["b.jpg"])}


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_names_are_the_same(tmp_path, disk, table):
    source = _pictures(tmp_path / "in", unicodedata.normalize(disk, "Jürgen 0.jpg"))
    line = unicodedata.normalize(table, "Jürgen 0.jpg")
    assert len(_list(tmp_path, [source], f"path,age\n{line},7\n").pictures) == 1


def test_a_line_that_names_a_picture_in_two_folders_is_refused(tmp_path):
    both = [_pictures(tmp_path / name, "0.jpg") for name in ("a", "b")]
    with pytest.raises(DataError, match=r"line 2: 0\.jpg is the name of several images"):
        _list(tmp_path, both, "path,age\n0.jpg,7\n")
    listing = _list(tmp_path, both, "path,age\na/0.jpg,7\nb/0.jpg,8\n")
    assert [(item.source, item.label.age.low) for item in listing.pictures] == [("a", 7), ("b", 8)]


def test_lines_without_a_picture_and_columns_without_a_meaning_are_reported(tmp_path):
    source = _pictures(tmp_path / "in", "a.jpg")
    listing = _list(tmp_path, [source], "path,age,notes\na.jpg,7,x\nb.jpg,8,y\n")
    assert (listing.missing, listing.unused) == (1, ["notes"])
