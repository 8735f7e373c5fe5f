"""The compare tab: a picture, its faces, and every model's prediction for the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from .compare_actions import Actions
from .drawing import WAITING
from .models import Contender
from .reading import MARGINS
from .samples import list_examples
from .visitors import Visitors

CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const {example, again, face, reopen, beside, alone} = button.dataset;
  if (example) trigger('example', {name: example});
  if (again) trigger('again');
  if (reopen) trigger('reopen', {number: Number(reopen)});
  if (beside) trigger('beside', {number: Number(beside)});
  if (alone) trigger('alone');
  if (face) {
    for (const other of document.querySelectorAll('[data-face]'))
      other.setAttribute('aria-pressed', other.dataset.face === face);
    trigger('choose', {face: Number(face)});
  }
});
"""


def build(contenders: Sequence[Contender], most_bytes: int, visitors: Visitors) -> None:
    """Lay out the tab, and connect its events.

    An action is recorded at once, and handled in turn if it is then still the newest.
    """
    tab = Layout([contender.name for contender in contenders if not contender.error])
    do = Actions(tab, contenders, most_bytes, visitors)
    hidden: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "show_progress_on": tab.results,
    }  # fmt: skip
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", "preprocess": False}

    def connect(happens: Any, note: Callable[..., Any], value: Any = None) -> None:
        happens(note, value, tab.shown, **at_once, **hidden).then(
            do.answer, tab.settings, tab.shown, preprocess=False, trigger_mode="multiple",
            concurrency_id="models", **hidden,
        )  # fmt: skip

    connect(tab.upload.input, do.open_upload, tab.upload)
    connect(tab.examples.example, do.open_example)
    for faces in (tab.stage, tab.faces):
        connect(faces.choose, do.choose)
    for setting in tab.settings:
        connect(setting.change, do.ask_again)
    connect(tab.recent.reopen, do.reopen)
    connect(tab.recent.beside, do.put_beside)
    connect(tab.results.alone, do.put_beside)
    tab.stage.again(do.leave, None, tab.shown, **at_once, **hidden)


class Layout:
    """The tab's components: `shown` are those that a picture changes, `settings` the user's.

    All but the upload's updates are values alone: of one that is a dictionary, Gradio's page
    deletes what the next one lacks, also where a slow browser has not shown it yet.
    """

    def __init__(self, names: list[str]) -> None:
        html = partial(gr.HTML, apply_default_css=False)
        with gr.Row(elem_classes="compare"):
            with gr.Column(scale=4, min_width=300, elem_classes="side"):
                self.upload = gr.Image(
                    label="Picture", sources=["upload", "webcam", "clipboard"], height=300,
                    elem_id="upload", buttons=[],
                    placeholder="Drop a picture here\nor click to choose one",
                )  # fmt: skip
                self.stage: Any = html(js_on_load=CLICKS, elem_id="stage")
                self.faces: Any = html(js_on_load=CLICKS, elem_id="faces")
                self.examples: Any = html(list_examples(), js_on_load=CLICKS, elem_id="examples")
                with gr.Column(elem_id="controls") as self.controls:
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
                        gr.CheckboxGroup(
                            names, value=names, label="Models that answer",
                            visible=len(names) > 1, elem_id="answering",
                        ),
                    ]  # fmt: skip
                self.recent: Any = html(js_on_load=CLICKS, elem_id="recent")
            with gr.Column(scale=8, min_width=320):
                self.results: Any = html(WAITING, js_on_load=CLICKS, elem_id="results")
        self.shown = [
            self.stage, self.upload, self.crop, self.faces, self.recent, self.results,
        ]  # fmt: skip
