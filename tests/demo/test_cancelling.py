"""What is drawn when a visitor cancels just then: nothing of it stays on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from demo import batch_tab
from demo.compare_actions import Actions
from demo.compare_tab import Layout
from demo.drawing import EMPTY, WAITING
from demo.models import Contender
from demo.reading import MB
from demo.visitors import Visitors
from tests.demo.pictures import PORTRAIT
from tests.exporting.models import write_model

PAGE: Any = SimpleNamespace(session_hash="page")


@pytest.fixture
def contender(tmp_path: Path) -> Contender:
    return Contender(write_model(tmp_path / "cnn.safetensors"), "cpu")


class Asked:
    """The compare tab's actions, asked for the portrait."""

    def __init__(self, contender: Contender) -> None:
        with gr.Blocks():
            self.tab = Layout([contender.name])
        self.do = Actions(self.tab, [contender], MB, Visitors())
        self.open()

    def open(self, name: str = "astronaut.jpg") -> None:
        event: Any = SimpleNamespace(_data={"name": name})
        self.do.open_example(event, PAGE)

    def answer(self) -> Iterator[Any]:
        return self.do.answer(0, False, False, ["cnn"], PAGE)


def test_an_answer_that_nobody_cancels(contender: Contender):
    asked = Asked(contender)
    shown, answered, last = asked.answer()
    assert 'class="frame"' in shown[asked.tab.stage]
    assert 'class="card"' in answered[asked.tab.results]
    # Another event's handler may have taken the wish, before the page has shown its record.
    assert answered[asked.tab.stage] == shown[asked.tab.stage]
    assert last == gr.skip()  # Gradio repeats it, when the page may be past the answer
    assert list(asked.answer()) == [gr.skip()]  # the wish is fulfilled


def test_no_update_is_edited_in_place(contender: Contender):
    """Gradio's page holds one dictionary for all updates, and turns it into the next one."""
    asked = Asked(contender)
    *updates, _ = asked.answer()
    updates += [asked.do.leave(PAGE)]
    shown = [(part, value) for update in updates for part, value in update.items()]
    assert {part for part, value in shown if isinstance(value, dict)} == {asked.tab.upload}


@pytest.mark.parametrize("drawn", [1, 2])
def test_what_was_drawn_before_it_was_cancelled_is_cleared(contender: Contender, drawn: int):
    asked = Asked(contender)
    answers = asked.answer()
    for _ in range(drawn):
        next(answers)
    asked.do.leave(PAGE)
    last, _ = answers
    assert last[asked.tab.stage] == EMPTY
    assert last[asked.tab.results] == WAITING
    assert asked.tab.upload not in last  # in which a newer picture may be on its way


def test_a_newer_picture_is_left_alone(contender: Contender):
    asked = Asked(contender)
    answers = asked.answer()
    next(answers)
    asked.open()
    assert list(answers) == [gr.skip()]
    newer = list(asked.answer())
    assert 'class="card"' in newer[-2][asked.tab.results]


class Batch:
    """The batch tab's functions, by their names."""

    def __init__(self, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
        read = lambda upload: (upload["path"], PORTRAIT.read_bytes())  # noqa: E731
        monkeypatch.setattr(batch_tab, "read_upload", read)
        with gr.Blocks() as blocks:
            batch_tab.build([contender], MB, Visitors())
        self.functions = {one.fn.__name__: one.fn for one in blocks.fns.values() if one.fn}

    def __call__(self, name: str, *inputs: Any) -> Any:
        return self.functions[name](*inputs, PAGE)


def test_progress_does_not_outlive_its_batch(
    contender: Contender, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    batch = Batch(contender, monkeypatch)
    files = [{"path": name} for name in "abc"]
    batch("note")
    run = batch("run", files)
    assert "Picture 1 of 3" in next(run)
    assert "Picture 2 of 3" in next(run)
    assert batch("stop") == (None, batch_tab.WAITING)
    assert list(run) == [batch_tab.WAITING]
    assert list(batch("run", files)) == []  # whose turn comes after it was cancelled
    batch("note")
    *progress, page, _ = batch("run", files)
    assert len(progress) == 3  # nothing is left of the first time
    assert page.count("<figure>") == 3


def test_a_file_that_comes_meanwhile_is_answered_with_the_others(
    contender: Contender, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    batch = Batch(contender, monkeypatch)
    files = [{"path": name} for name in "abc"]
    batch("note")
    first = batch("run", files[:2])
    next(first)
    next(first)
    batch("note")
    second = batch("run", files)
    assert "Picture 1 of 2" in next(second)  # the first one is answered
    assert list(first) == [gr.skip()]
    *_, page, _ = second
    assert page.count("<figure>") == 3
    assert page.count('<th scope="row">') == 3  # a row per face
