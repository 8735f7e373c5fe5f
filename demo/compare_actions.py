"""Actions in the compare tab, and their updates of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from .batch import answer_faces
from .compare import GivenUp, compare
from .drawing import (
    ABSENT,
    EMPTY,
    FINDING,
    WAITING,
    draw_crop,
    draw_faces,
    draw_recent,
    draw_stage,
)
from .models import Contender, make_reader
from .reading import Refused, read_number, read_picture
from .recent import Opened
from .render import notice, render
from .results import results
from .samples import EXAMPLES, read_example
from .upload import File, read_upload
from .visitors import Visitor, Visitors

if TYPE_CHECKING:
    from .compare_tab import Layout

NO_MODEL_CHOSEN = notice("No model is switched on. Choose at least one of those that answer.")


class Actions:
    """The compare tab's event handlers: requests, each recorded at once, and their results.

    Each returns what changes on the page, by component.
    """

    def __init__(
        self,
        tab: Layout,
        contenders: Sequence[Contender],
        most_bytes: int,
        visitors: Visitors,
    ) -> None:
        self.tab, self.contenders = tab, contenders
        self.most_bytes, self.visitors = most_bytes, visitors
        self.reader = make_reader(contenders)
        names = [contender.name for contender in contenders if not contender.error]
        self.skeleton = {tab.results: render("skeleton", names=names)}

    def open_upload(self, value: Any, request: gr.Request) -> Any:
        """Record an upload."""
        return gr.skip() if value is None else self._open(lambda: read_upload(value), request)

    def open_example(self, event: gr.EventData, request: gr.Request) -> Any:
        """Record an example."""
        name = str(event._data["name"])
        if name not in EXAMPLES:
            return gr.skip()
        return self._open(partial(read_example, name), request)

    def _open(self, read: Callable[[], File], request: gr.Request) -> Any:
        visitor = self.visitors.find(request)
        visitor.open(read)
        tab = self.tab
        # The upload is not emptied: a newer picture may be on its way in it, and would be sent as
        # nothing.
        return self.skeleton | {
            tab.stage: FINDING, tab.crop: EMPTY, tab.faces: EMPTY, tab.recent: EMPTY,
        }  # fmt: skip

    def choose(self, event: gr.EventData, request: gr.Request) -> Any:
        """Record the face that was clicked."""
        self.visitors.find(request).ask(int(event._data["face"]))
        return self.skeleton

    def ask_again(self, request: gr.Request) -> Any:
        """Record that the settings have changed."""
        self.visitors.find(request).ask()
        return gr.skip()

    def reopen(self, event: gr.EventData, request: gr.Request) -> Any:
        """Record that one of the last pictures was clicked."""
        visitor = self.visitors.find(request)
        opened = visitor.reopen(int(event._data["number"]))
        if not opened:
            return {self.tab.recent: draw_recent(visitor)}
        return self.skeleton | self._show(opened)

    def put_beside(self, event: gr.EventData, request: gr.Request) -> Any:
        """Record the picture to show beside the open one; none without a number."""
        self.visitors.find(request).put_beside((event._data or {}).get("number"))
        return self.skeleton

    def leave(self, request: gr.Request) -> Any:
        """Close the picture."""
        visitor = self.visitors.find(request)
        visitor.open(None)
        return self._close(visitor, WAITING)

    def answer(
        self, margin: Any, heat: Any, stability: Any, models: Any, request: gr.Request
    ) -> Iterator[Any]:
        """Handle the newest request, unless it is done; stop if a newer one comes."""
        visitor = self.visitors.find_again(request)
        wish = visitor.take() if visitor else None
        if not visitor or not wish:
            yield gr.skip()
            return
        try:
            yield from self._answer(
                visitor, wish, self._chosen(models), margin=read_number("margin", margin),
                heat=bool(heat), stability=bool(stability),
            )  # fmt: skip
        except GivenUp:
            # Updates for a picture may reach the page after those that close it.
            if visitor.taken is wish and not (visitor.read or visitor.opened):
                yield self._clear()
        except Refused as error:
            if visitor.give_up(wish):
                yield self._close(visitor, notice(str(error)))
        # Gradio repeats the last update at the end, when the page may be past it.
        yield gr.skip()

    def _answer(
        self, visitor: Visitor, wish: object, contenders: Sequence[Contender], **settings: Any
    ) -> Iterator[Any]:
        tab, fresh = self.tab, visitor.read is not None
        if read := visitor.read:
            picture = read_picture(*read(), self.reader, self.most_bytes)
            if not (shown := visitor.show(wish, picture)):
                raise GivenUp
            yield self.skeleton | self._show(shown)  # an older answer may have come since
        opened, beside = visitor.opened, visitor.beside
        if visitor.wish is not wish:
            raise GivenUp
        if not opened:
            raise Refused("The picture is gone, as pictures are not kept. Choose it again.")
        if not contenders:
            yield {tab.results: NO_MODEL_CHOSEN}
            return
        comparisons = [
            compare(contenders, one.picture, one.face, wanted=lambda: visitor.wish is wish,
                    **settings)
            for one in (opened, beside) if one
        ]  # fmt: skip
        if first := comparisons[0].first:
            opened.group = str(first.group)
        names = tuple(contender.name for contender in contenders)
        stale = len(opened.picture.faces) > 1 and visitor.listed != names
        # What recorded the picture may reach the page after it was first shown.
        yield (self._show(opened) if fresh else {}) | {
            tab.upload: ABSENT, tab.crop: draw_crop(comparisons[0]),
            tab.recent: draw_recent(visitor), tab.results: results(*comparisons),
        } | ({tab.faces: draw_faces(opened)} if stale else {})  # fmt: skip
        if visitor.wish is not wish:
            raise GivenUp
        if stale:
            rows = answer_faces(contenders, opened.picture)
            if visitor.wish is wish:
                visitor.listed = names
                yield {tab.faces: draw_faces(opened, rows)}

    def _chosen(self, names: Any) -> list[Contender]:
        """Return the models that are switched on; none where only broken ones are."""
        chosen = [one for one in self.contenders if one.error or one.name in (names or ())]
        return chosen if any(not one.error for one in chosen) else []

    def _show(self, opened: Opened) -> dict[Any, Any]:
        """Return the updates for a picture without results yet."""
        tab = self.tab
        return {
            tab.stage: draw_stage(opened), tab.crop: EMPTY, tab.faces: draw_faces(opened),
            tab.recent: EMPTY,
        }  # fmt: skip

    def _clear(self) -> dict[Any, Any]:
        """Return the page without its picture, but for the field of a next one."""
        tab = self.tab
        return {
            tab.stage: EMPTY, tab.crop: EMPTY, tab.faces: EMPTY, tab.results: WAITING,
        }  # fmt: skip

    def _close(self, visitor: Visitor, said: str) -> dict[Any, Any]:
        """Return the page without a picture, and something in the place of results."""
        tab = self.tab
        return self._clear() | {
            tab.upload: gr.update(value=None, visible=True), tab.recent: draw_recent(visitor),
            tab.results: said,
        }  # fmt: skip
