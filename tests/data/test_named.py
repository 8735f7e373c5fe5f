"""Images found by the ids that a file names."""

from pathlib import Path

import pytest

from agecli.data.named import Named, read_file
from agecli.errors import DataError

IMAGES = [("A", "1.jpg"), ("A", "2.jpg"), ("B", "2.jpg")]


def named(*rows: tuple[str, str], by_source: bool = False) -> Named:
    result = Named("file.csv", by_source)
    for id, source in rows:
        assert result.add(id, source)
    return result


def test_an_image_is_found_by_its_id():
    rows = named(("gone.jpg", ""), ("1.jpg", ""))
    assert [rows.place(id, source) for source, id in IMAGES] == [1, -1, -1]
    assert rows.unknown == 1
    assert rows.place("1.jpg", "A") == 1  # again


def test_an_id_of_several_sources_needs_these():
    with pytest.raises(DataError, match=r"file.csv: 2.jpg is the id of images in several sources"):
        rows = named(("2.jpg", ""))
        [rows.place(id, source) for source, id in IMAGES]
    rows = named(("2.jpg", "B"), ("1.jpg", "B"), by_source=True)
    assert [rows.place(id, source) for source, id in IMAGES] == [-1, -1, 0]
    assert rows.unknown == 1


def test_a_second_row_of_an_image_is_reported():
    rows = named(("1.jpg", "A"))
    assert not rows.add("1.jpg", "B")  # of a file without sources
    rows = named(("1.jpg", "A"), by_source=True)
    assert rows.add("1.jpg", "B") and not rows.add("1.jpg", "B")


def test_what_is_not_a_file_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"No such file: .*gone \(--soft-labels\)"):
        read_file("--soft-labels", tmp_path / "gone")
