"""Items on disk: sorted whatever their number, and there again."""

from random import Random

import pytest

from agecli.data import sorting
from agecli.data.sorting import SortedItems


@pytest.mark.parametrize("count", [0, 1, 5, 6, 17, 1000])
def test_items_come_sorted_every_time(tmp_path, monkeypatch, count):
    monkeypatch.setattr(sorting, "_RUN", 6)
    monkeypatch.setattr(sorting, "_PART", 4)
    items = [(f"{Random(number).randrange(50)}ü\udcff", number, True) for number in range(count)]
    kept = SortedItems(tmp_path / "items")
    for item in items:
        kept.add(item)
    assert len(kept) == count
    assert list(kept) == list(kept) == sorted(items)


def test_items_may_be_added_after_a_look(tmp_path):
    kept = SortedItems(tmp_path / "items")
    for number in (3, 1, 2):
        kept.add((number,))
        assert (number,) in [*kept]
    assert [*kept] == [(1,), (2,), (3,)]


def test_several_can_look_at_once(tmp_path):
    kept = SortedItems(tmp_path / "items")
    for number in range(300):
        kept.add((number,))
    assert [one == other for one, other in zip(kept, kept, strict=True)] == [True] * 300
