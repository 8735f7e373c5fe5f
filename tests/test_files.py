"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from agecli.files import growing, whole, write_text


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "table.csv"
    with whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half" and list(tmp_path.iterdir()) == [path]


def test_where_writing_fails_the_earlier_file_stays_alone(tmp_path: Path):
    path = tmp_path / "table.csv"
    write_text(path, "earlier: ä")
    with pytest.raises(OSError, match="full"), whole(path) as partial:
        partial.write_text("half")
        raise OSError("disk full")
    assert path.read_text(encoding="utf-8") == "earlier: ä" and list(tmp_path.iterdir()) == [path]


def test_a_growing_file_keeps_what_it_has_under_another_name(tmp_path: Path):
    path, partial = tmp_path / "table.csv", tmp_path / "table.csv.partial"
    write_text(path, "earlier")
    with pytest.raises(KeyboardInterrupt), growing(path) as other:
        other.write_text("half")
        raise KeyboardInterrupt
    assert (path.read_text(), partial.read_text()) == ("earlier", "half")
    with growing(path) as other:
        other.write_text("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]
