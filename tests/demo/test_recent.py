"""The last pictures of a page: which are kept, and when they go."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agecli.faces import Face
from agecli.inference.pictures import Reading
from demo import recent
from demo.reading import Picture
from demo.recent import Opened, remember
from demo.visitors import Visitor, Visitors

VIEW = (8, 0.25)


def picture(name: str, size: int = 10) -> Picture:
    crops = {VIEW: np.zeros((2, 8, 8, 3), np.uint8)}
    faces = [Face((1, 2, 31, 32), 0.9), Face((41, 2, 61, 32), 0.9)]
    data = name.encode().ljust(size, b".")
    return Picture(name, data, (80, 40), Reading(name, "ok", faces=faces, crops=crops))


def show(visitor: Visitor, name: str, size: int = 10) -> Opened:
    visitor.open(lambda: (name, b""))
    opened = visitor.show(visitor.take(), picture(name, size))
    assert opened
    return opened


def names(visitor: Visitor) -> list[str]:
    return [one.picture.name for one in visitor.recent]


def test_the_last_six_are_kept_each_once():
    visitor = Visitor()
    for name in "abcdefgh":
        show(visitor, name)
    assert names(visitor) == list("hgfedc")
    show(visitor, "e")
    assert names(visitor) == list("ehgfdc")


def test_together_they_hold_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch):
    each = picture("a", 1000).held
    assert each == 1000 + 2 * 8 * 8 * 3
    monkeypatch.setattr(recent, "BYTES", 2 * each)
    kept: list[Opened] = []
    for name in "abc":
        kept = remember(kept, Opened(picture(name, 1000)))
    assert [one.picture.name for one in kept] == ["c", "b"]
    large = Opened(picture("d", 5000))
    assert remember(kept, large) == [large]


def test_one_is_opened_again_with_its_face():
    visitor = Visitor()
    first = show(visitor, "a")
    visitor.ask(1)
    show(visitor, "b")
    wish = visitor.wish
    assert visitor.reopen(first.number) is first
    assert visitor.wish is not wish
    assert visitor.opened is first
    assert first.face == 1
    assert names(visitor) == ["a", "b"]
    assert visitor.reopen(10**6) is None
    assert visitor.opened is first


def test_one_stands_beside_another_until_a_third_comes():
    visitor = Visitor()
    first = show(visitor, "a")
    show(visitor, "b")
    visitor.put_beside(first.number)
    assert visitor.beside is first
    visitor.put_beside(None)
    assert visitor.beside is None
    visitor.put_beside(first.number)
    show(visitor, "c")
    assert visitor.beside is None


def test_all_go_with_the_page():
    visitors = Visitors()
    request: Any = SimpleNamespace(session_hash="page")
    visitor = visitors.find(request)
    pictures = [weakref.ref(show(visitor, name).picture) for name in "abc"]
    visitor.put_beside(visitor.recent[-1].number)
    visitors.forget("page")
    gc.collect()
    assert not [picture for picture in pictures if picture()]
    assert visitors.find_again(request) is None


def test_what_is_read_too_late_is_not_kept():
    visitor = Visitor()
    visitor.open(lambda: ("a", b""))
    wish = visitor.take()
    visitor.close()
    assert visitor.show(wish, picture("a")) is None
    assert (visitor.recent, visitor.opened) == ([], None)
    assert not visitor.give_up(wish)
