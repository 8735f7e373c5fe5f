"""The compare tab: a picture, its faces, and what every model says of the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from agecli.inference.prediction import Prediction

from .batch import answer_faces
from .compare import Comparison, GivenUp, compare
from .models import Contender, make_reader
from .pictures import shrink
from .reading import MARGINS, Picture, Refused, read_number, read_picture
from .render import notice, render
from .results import results, said
from .samples import EXAMPLES, list_examples, read_example
from .upload import File, read_upload
from .visitors import Visitors

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
    for (const other of document.querySelectorAll('[data-face]'))
      other.setAttribute('aria-pressed', other.dataset.face === button.dataset.face);
    trigger('choose', {face: Number(button.dataset.face)});
  }
});
"""


def build(contenders: Sequence[Contender], most_bytes: int, visitors: Visitors) -> None:
    """Lay out the tab, and connect it.

    An action is noted at once, and answered when its turn comes: if it is still the newest then.
    """
    tab, do = _Layout(), _Handlers(contenders, most_bytes, visitors)
    hidden: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "show_progress_on": tab.results,
    }  # fmt: skip
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", "preprocess": False}

    def answer_after(noted: Any) -> None:
        noted.then(
            do.answer, tab.settings, tab.shown, preprocess=False, trigger_mode="multiple",
            concurrency_id="models", **hidden,
        )  # fmt: skip

    answer_after(tab.upload.input(do.open_upload, tab.upload, tab.shown, **at_once, **hidden))
    answer_after(tab.examples.example(do.open_example, None, tab.shown, **at_once, **hidden))
    for faces in (tab.stage, tab.faces):
        answer_after(faces.choose(do.choose, None, tab.shown, **at_once, **hidden))
    for setting in tab.settings:
        answer_after(setting.change(do.ask_again, None, None, **at_once, **hidden))
    tab.stage.again(do.leave, None, tab.shown, **at_once, **hidden)


class _Layout:
    """The tab's components: `shown` are those that a picture changes, `settings` the user's."""

    def __init__(self) -> None:
        html = partial(gr.HTML, apply_default_css=False)
        with gr.Row(elem_classes="compare"):
            with gr.Column(scale=4, min_width=300, elem_classes="side"):
                self.upload = gr.Image(
                    label="Picture", sources=["upload", "webcam", "clipboard"], height=300,
                    elem_id="upload", buttons=[],
                    placeholder="Drop a picture here\nor click to choose one",
                )  # fmt: skip
                self.stage: Any = html(visible=False, js_on_load=CLICKS, elem_id="stage")
                self.faces: Any = html(visible=False, js_on_load=CLICKS, elem_id="faces")
                self.examples: Any = html(list_examples(), js_on_load=CLICKS, elem_id="examples")
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
        self.shown = [
            self.stage,
            self.examples,
            controls,
            self.upload,
            self.crop,
            self.faces,
            self.results,
        ]


class _Handlers:
    """What the tab does: the wishes, each of which is noted in a moment, and their answer."""

    def __init__(
        self, contenders: Sequence[Contender], most_bytes: int, visitors: Visitors
    ) -> None:
        self.contenders, self.most_bytes, self.visitors = contenders, most_bytes, visitors
        self.reader = make_reader(contenders)
        names = [contender.name for contender in contenders if not contender.error]
        self.skeleton = render("skeleton", names=names)

    def open_upload(self, value: Any, request: gr.Request) -> Any:
        """Note an upload."""
        return UNCHANGED if value is None else self._open(lambda: read_upload(value), request)

    def open_example(self, event: gr.EventData, request: gr.Request) -> Any:
        """Note an example."""
        name = str(event._data["name"])
        if name not in EXAMPLES:
            return UNCHANGED
        return self._open(partial(read_example, name), request)

    def _open(self, read: Callable[[], File], request: gr.Request) -> Any:
        self.visitors.find(request).open(read)
        # The upload is hidden until there is an answer, and not emptied: a newer picture may be on
        # its way in it, and would be sent as nothing.
        return (
            gr.update(value=FINDING, visible=True), gr.update(visible=False),
            gr.update(visible=False), gr.update(visible="hidden"), "",
            gr.update(value="", visible=False), self.skeleton,
        )  # fmt: skip

    def choose(self, event: gr.EventData, request: gr.Request) -> Any:
        """Note the face that was clicked."""
        self.visitors.find(request).ask(int(event._data["face"]))
        return *UNCHANGED[:-1], self.skeleton

    def ask_again(self, request: gr.Request) -> None:
        """Note that the settings have changed."""
        self.visitors.find(request).ask()

    def leave(self, request: gr.Request) -> Any:
        """Forget the picture."""
        self.visitors.find(request).open(None)
        return _closed(WAITING)

    def answer(self, margin: Any, heat: Any, stability: Any, request: gr.Request) -> Iterator[Any]:
        """Fulfil the newest wish, if nobody has; give it up where a newer one comes."""
        visitor = self.visitors.find_again(request)
        wish = visitor.take() if visitor else None
        if not visitor or not wish:
            yield UNCHANGED
            return
        try:
            if read := visitor.read:
                picture = read_picture(*read(), self.reader, self.most_bytes)
                if not visitor.opened(wish, picture):
                    raise GivenUp
                yield _opened(picture)
            if not visitor.picture:
                raise Refused("The picture is gone, as pictures are not kept. Choose it again.")
            comparison = compare(
                self.contenders, visitor.picture, visitor.face, read_number("margin", margin),
                heat=bool(heat), stability=bool(stability), wanted=lambda: visitor.wish is wish,
            )  # fmt: skip
            gone = gr.update(visible=False)
            yield *UNCHANGED[:3], gone, _crop(comparison), gr.skip(), results(comparison)
            if len(visitor.picture.faces) > 1 and not visitor.listed:
                rows = answer_faces(self.contenders, visitor.picture)
                if visitor.wish is wish:
                    visitor.listed = True
                    listed = _faces(visitor.picture, rows, visitor.face)
                    yield *UNCHANGED[:-2], listed, gr.skip()
        except GivenUp:
            yield UNCHANGED
        except Refused as error:
            yield _closed(notice(str(error))) if visitor.opened(wish, None) else UNCHANGED


FINDING = render("finding")
UNCHANGED = (gr.skip(),) * 7
"""For each component of `shown`."""


def _opened(picture: Picture) -> tuple[Any, ...]:
    """Return the page with a picture that is not yet answered for."""
    return (
        gr.update(value=_stage(picture)), gr.skip(), gr.update(visible=True), gr.skip(),
        gr.skip(), _faces(picture), gr.skip(),
    )  # fmt: skip


def _closed(said: str) -> tuple[Any, ...]:
    """Return the page without a picture, and something in the place of results."""
    return (
        gr.update(value="", visible=False), gr.update(visible=True), gr.update(visible=False),
        gr.update(value=None, visible=True), "", gr.update(value="", visible=False), said,
    )  # fmt: skip


def _stage(picture: Picture) -> str:
    """Show the picture with a button over each face."""
    width, height = picture.size
    return render(
        "stage", image=shrink(picture.image()), faces=picture.faces, width=width, height=height,
        animated=picture.animated,
    )  # fmt: skip


def _faces(picture: Picture, rows: Sequence[Prediction] = (), chosen: int = 0) -> Any:
    """List the faces of a picture of several, with what is said of each once it is."""
    if len(picture.faces) == 1:
        return gr.update(value="", visible=False)
    crops = picture.reading.crops[max(picture.reading.crops)]  # (faces, size, size, 3)
    listed = list(said(rows)) or [(None, "")] * len(crops)
    faces = [(shrink(Image.fromarray(c), 88), *one) for c, one in zip(crops, listed, strict=True)]
    return gr.update(value=render("faces", faces=faces, chosen=chosen), visible=True)


def _crop(comparison: Comparison) -> str:
    """Show what the models see."""
    return render("crop", crop=comparison.crop, number=comparison.face + 1)
