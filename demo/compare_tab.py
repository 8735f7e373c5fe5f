"""The compare tab: a picture, its faces, and what every model says of the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from agecli.data.images import read_image

from .compare import Comparison, compare
from .models import Contender, make_reader
from .pictures import shrink
from .reading import MARGINS, Picture, Refused, read_picture
from .render import notice, render
from .results import results
from .upload import File, read_upload

EXAMPLES = Path(__file__).with_name("examples")
SOURCES = {"astronaut.jpg": ("Eileen Collins, astronaut", "NASA, public domain")}
"""What example pictures show, and where they come from."""

IN_MEMORY = 3600
"""Seconds after which a picture is forgotten, though its page is still open."""

WAITING = render(
    "empty", lead="Add a picture of a face.",
    text="Each model gives an age group, how sure it is, and, where it can, an age in years.",
)  # fmt: skip
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.example) trigger('example', {name: button.dataset.example});
  if (button.dataset.again) trigger('again');
  if (button.dataset.face) {
    for (const other of element.querySelectorAll('[data-face]'))
      other.setAttribute('aria-pressed', other === button);
    trigger('choose', {face: Number(button.dataset.face)});
  }
});
"""


def build(contenders: Sequence[Contender], most_bytes: int) -> None:
    """Lay out the tab, and connect it."""
    tab, do = _Layout(), _Handlers(contenders, most_bytes)
    crop_and_results = [tab.crop, tab.results]
    common: dict[str, Any] = {
        "api_visibility": "private", "concurrency_id": "models", "show_progress": "minimal",
        "show_progress_on": tab.results,
    }  # fmt: skip
    tab.upload.input(
        do.open_upload, [tab.upload, *tab.settings], tab.shown, preprocess=False,
        trigger_mode="always_last",  # an emptied upload is told of, too: a paste may follow at once
        **common,
    )  # fmt: skip
    tab.examples.example(do.open_example, tab.settings, tab.shown, **common)
    tab.stage.choose(
        do.choose, [tab.picture, *tab.settings], [tab.face, *crop_and_results], **common
    )
    tab.stage.again(
        lambda: _closed(WAITING), None, tab.shown, api_visibility="private", queue=False
    )
    for setting in tab.settings:
        setting.change(
            do.show, [tab.picture, tab.face, *tab.settings], crop_and_results,
            trigger_mode="always_last", **common,
        )  # fmt: skip


class _Layout:
    """The tab's components: `shown` are those that a picture changes, `settings` the user's."""

    def __init__(self) -> None:
        html = partial(gr.HTML, apply_default_css=False)
        self.picture, self.face = gr.State(None, time_to_live=IN_MEMORY), gr.State(0)
        with gr.Row(elem_classes="compare"):
            with gr.Column(scale=4, min_width=300, elem_classes="side"):
                self.upload = gr.Image(
                    label="Picture", sources=["upload", "webcam", "clipboard"], height=300,
                    elem_id="upload", buttons=[],
                    placeholder="Drop a picture here\nor click to choose one",
                )  # fmt: skip
                self.stage: Any = html(visible=False, js_on_load=CLICKS, elem_id="stage")
                self.examples: Any = html(_examples(), js_on_load=CLICKS, elem_id="examples")
                with gr.Column(visible=False, elem_id="controls") as controls:
                    self.crop = html(elem_id="crop")
                    self.settings: list[Any] = [
                        gr.Slider(
                            *MARGINS, value=0, step=0.05, label="Margin around the face",
                            info="0 shows the models what they were trained with.",
                            elem_id="margin", buttons=[],
                        ),
                        gr.Checkbox(label="Show where each model looks", elem_id="heat"),
                        gr.Checkbox(
                            label="How sure is this? Try small changes", elem_id="stability"
                        ),
                    ]  # fmt: skip
            with gr.Column(scale=8, min_width=320):
                self.results = html(WAITING, elem_id="results")
        self.shown = [self.picture, self.face, self.stage, self.examples, controls, self.upload,
                      self.crop, self.results]  # fmt: skip


class _Handlers:
    """What the tab does; `wanted` are its settings' values: margin, heat, stability."""

    def __init__(self, contenders: Sequence[Contender], most_bytes: int) -> None:
        self.contenders, self.most_bytes = contenders, most_bytes
        self.reader = make_reader(contenders)

    def open_upload(self, value: dict[str, Any] | None, *wanted: Any) -> tuple[Any, ...]:
        """Show an upload and its answers, or why there are none."""
        return UNCHANGED if value is None else self._open(lambda: read_upload(value), *wanted)

    def open_example(self, event: gr.EventData, *wanted: Any) -> tuple[Any, ...]:
        """Show an example and its answers."""
        name = str(event._data["name"])
        if name not in SOURCES:
            return UNCHANGED
        return self._open(lambda: (name, (EXAMPLES / name).read_bytes()), *wanted)

    def choose(self, event: gr.EventData, opened: Picture | None, *wanted: Any) -> tuple[Any, ...]:
        """Answer for the face that was clicked."""
        number = int(event._data["face"])
        return number, *self.show(opened, number, *wanted)

    def show(self, opened: Picture | None, number: int, *wanted: Any) -> tuple[str, str]:
        """Answer for a face: what the models see of it, and what they say."""
        if opened is None:  # a session that has expired
            gone = "The picture is gone, as pictures are not kept. Choose it again."
            return gr.skip(), notice(gone)
        margin, heat, stability = wanted
        comparison = compare(
            self.contenders, opened, number, margin, heat=heat, stability=stability
        )
        return _crop(comparison), results(comparison)

    def _open(self, read: Callable[[], File], *wanted: Any) -> tuple[Any, ...]:
        try:
            opened = read_picture(*read(), self.reader, self.most_bytes)
        except Refused as error:
            return _closed(notice(str(error)))
        return (
            opened, 0, gr.update(value=_stage(opened), visible=True), gr.update(visible=False),
            gr.update(visible=True), gr.update(value=None, visible=False),
            *self.show(opened, 0, *wanted),
        )  # fmt: skip


UNCHANGED = (gr.skip(),) * 8
"""For each component of `shown`."""


def _closed(said: str) -> tuple[Any, ...]:
    """Return the page without a picture, and something in the place of results."""
    return (
        None, 0, gr.update(value="", visible=False), gr.update(visible=True),
        gr.update(visible=False), gr.update(value=None, visible=True), "", said,
    )  # fmt: skip


def _stage(picture: Picture) -> str:
    """Show the picture with a button over each face."""
    width, height = picture.size
    return render(
        "stage", image=shrink(picture.image()), faces=picture.faces, width=width, height=height,
        animated=picture.animated,
    )  # fmt: skip


def _crop(comparison: Comparison) -> str:
    """Show what the models see."""
    sides = sorted({len(answer.crop) for answer in comparison.answers if answer.crop is not None})
    return render("crop", crop=comparison.crop, number=comparison.face + 1, sides=sides)


def _examples() -> str:
    found = [
        (name, *words, shrink(read_image(EXAMPLES / name), 96))
        for name, words in SOURCES.items()
        if (EXAMPLES / name).is_file()
    ]
    return render("examples", examples=found)
