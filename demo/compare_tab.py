"""The compare tab: a picture, its faces, and what every model says of the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from . import cards
from .compare import Comparison, compare
from .models import Contender, make_reader
from .pictures import data_uri, shrink
from .reading import MARGINS, Picture, Refused, read_picture
from .upload import File, read_upload

EXAMPLES = Path(__file__).with_name("examples")
SOURCES = {
    "astronaut.jpg": ("Eileen Collins, astronaut", "NASA, public domain"),
}
"""What example pictures show, and where they come from."""

IN_MEMORY = 3600
"""Seconds after which a picture is forgotten, though its page is still open."""

WAITING = """
<div class="empty"><p class="lead">Add a picture of a face.</p>
<p>Each model gives an age group, how sure it is, and, where it can, an age in years.</p></div>
"""
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
    reader = make_reader(contenders)
    picture, face = gr.State(None, time_to_live=IN_MEMORY), gr.State(0)
    with gr.Row(elem_classes="compare"):
        with gr.Column(scale=4, min_width=300, elem_classes="side"):
            upload = gr.Image(
                label="Picture", sources=["upload", "webcam", "clipboard"], height=300,
                elem_id="upload", buttons=[],
                placeholder="Drop a picture here\nor click to choose one",
            )  # fmt: skip
            stage = gr.HTML(
                visible=False, js_on_load=CLICKS, apply_default_css=False, elem_id="stage"
            )
            examples = gr.HTML(
                _examples(), js_on_load=CLICKS, apply_default_css=False, elem_id="examples"
            )
            with gr.Column(visible=False, elem_id="controls") as controls:
                crop = gr.HTML(apply_default_css=False, elem_id="crop")
                margin = gr.Slider(
                    *MARGINS, value=0, step=0.05, label="Margin around the face",
                    info="0 shows the models what they were trained with.", elem_id="margin",
                    buttons=[],
                )  # fmt: skip
                heat = gr.Checkbox(label="Show where each model looks", elem_id="heat")
                vary = gr.Checkbox(label="How sure is this? Try small changes", elem_id="vary")
        with gr.Column(scale=8, min_width=320):
            results = gr.HTML(WAITING, apply_default_css=False, elem_id="results")

    settings: list[Any] = [margin, heat, vary]
    shown = [picture, face, stage, examples, controls, upload, crop, results]

    def open_upload(value: dict[str, Any] | None, *wanted: Any) -> tuple[Any, ...]:
        if value is None:
            return (gr.skip(),) * len(shown)
        return open_file(lambda: read_upload(value), *wanted)

    def open_file(read: Callable[[], File], *wanted: Any) -> tuple[Any, ...]:
        try:
            opened = read_picture(*read(), reader, most_bytes)
        except Refused as error:
            return _closed(cards.message(str(error)))
        comparison = compare(contenders, opened, 0, wanted[0], heat=wanted[1], vary_it=wanted[2])
        return (
            opened, 0, gr.update(value=_stage(opened), visible=True), gr.update(visible=False),
            gr.update(visible=True), gr.update(value=None, visible=False),
            _crop(comparison), cards.results(comparison),
        )  # fmt: skip

    def open_example(event: gr.EventData, *wanted: Any) -> tuple[Any, ...]:
        name = str(event._data["name"])
        if name not in SOURCES:
            return (gr.skip(),) * len(shown)
        return open_file(lambda: (name, (EXAMPLES / name).read_bytes()), *wanted)

    def choose(event: gr.EventData, opened: Picture | None, *wanted: Any) -> tuple[Any, ...]:
        number = int(event._data["face"])
        return number, *show(opened, number, *wanted)

    def show(opened: Picture | None, number: int, *wanted: Any) -> tuple[Any, ...]:
        if opened is None:  # a session that has expired
            gone = "The picture is gone, as pictures are not kept. Choose it again."
            return gr.skip(), cards.message(gone)
        comparison = compare(
            contenders, opened, number, wanted[0], heat=wanted[1], vary_it=wanted[2]
        )
        return _crop(comparison), cards.results(comparison)

    common: dict[str, Any] = {
        "api_visibility": "private", "concurrency_id": "models", "show_progress": "minimal",
        "show_progress_on": results,
    }  # fmt: skip
    upload.input(
        open_upload, [upload, *settings], shown, preprocess=False,
        trigger_mode="always_last",  # an emptied upload is told of, too: a paste may follow at once
        **common,
    )  # fmt: skip
    examples.example(open_example, settings, shown, **common)
    stage.choose(choose, [picture, *settings], [face, crop, results], **common)
    stage.again(lambda: _closed(WAITING), None, shown, api_visibility="private", queue=False)
    for setting in settings:
        setting.change(
            show, [picture, face, *settings], [crop, results], trigger_mode="always_last", **common
        )


def _closed(said: str) -> tuple[Any, ...]:
    """Return the page without a picture, and something in the place of results."""
    return (
        None, 0, gr.update(value="", visible=False), gr.update(visible=True),
        gr.update(visible=False), gr.update(value=None, visible=True), "", said,
    )  # fmt: skip


def _stage(picture: Picture) -> str:
    """Show the picture with a button over each face."""
    width, height = picture.size
    count = len(picture.faces)
    buttons = "".join(
        f'<button type="button" class="face" data-face="{number}" '
        f'aria-pressed="{str(number == 0).lower()}" aria-label="Face {number + 1} of {count}" '
        f'style="left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;'
        f"width:{100 * (right - left) / width:.2f}%;height:{100 * (bottom - top) / height:.2f}%;"
        f'rotate:{angle:.1f}deg"><span aria-hidden="true">{number + 1}</span></button>'
        for number, (left, top, right, bottom), angle in (
            (number, face.box, face.angle) for number, face in enumerate(picture.faces)
        )
    )
    found = "One face found." if count == 1 else f"{count} faces found. Choose one in the picture."
    note = " Of this animation, the first frame is used." if picture.animated else ""
    return (
        f'<figure class="stage {"many" if count > 1 else ""}"><div class="frame">'
        f'<img src="{data_uri(shrink(picture.image()))}" alt="Your picture">{buttons}</div>'
        f'<figcaption><span role="status">{found}{note}</span>'
        '<button type="button" class="plain" data-again="1">Another picture</button>'
        "</figcaption></figure>"
    )


def _crop(comparison: Comparison) -> str:
    """Show what the models see."""
    sides = sorted(
        {answer.crop.shape[0] for answer in comparison.answers if answer.crop is not None}
    )
    listed = ", ".join(f"{side}×{side}" for side in sides)
    return (
        f'<figure class="crop"><img src="{data_uri(comparison.crop, 95)}" '
        f'alt="Face {comparison.face + 1}, as the models see it">'
        f"<figcaption><strong>What the models see</strong>Face {comparison.face + 1}, at "
        f"{listed} pixels</figcaption></figure>"
    )


def _examples() -> str:
    buttons = "".join(
        f'<button type="button" data-example="{name}"><img src="{_thumbnail(name)}" alt="">'
        f"<span><strong>{escape(title)}</strong>{escape(source)}</span></button>"
        for name, (title, source) in SOURCES.items()
        if (EXAMPLES / name).is_file()
    )
    return f'<div class="examples"><p>Or try an example</p>{buttons}</div>'


def _thumbnail(name: str) -> str:
    from PIL import Image

    with Image.open(EXAMPLES / name) as image:
        return data_uri(shrink(image.convert("RGB"), 96))
