"""State of visitors' pages: in memory while a page is open, and dropped when it closes.

Gradio's own gr.State outlives its page by an hour, and running functions write to it last.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from .live import Live
from .reading import Picture
from .recent import Opened, remember
from .upload import File

MOST = 100
"""Most visitors in memory; the one away longest is dropped first."""
IDLE = 3600
"""Seconds after which an idle visitor is dropped, though the page is still open."""


@dataclass
class Visitor:
    """The state of a page, by its newest request; older ones are abandoned."""

    wish: object = None
    """The newest request, compared by identity."""
    taken: object = None
    """The request in progress, or done."""
    read: Callable[[], File] | None = None
    """Reads the picture to open."""
    opened: Opened | None = None
    """The picture that is open."""
    listed: tuple[str, ...] = ()
    """The models that have predicted all of its faces."""
    recent: list[Opened] = field(default_factory=list)
    """The last pictures, the newest first, with the open one among them."""
    beside: Opened | None = None
    """The one that the open picture is compared with."""
    batch: object = None
    """The newest request of the batch tab; None if there is none, or it was cancelled."""
    tiles: dict[str, Any] = field(default_factory=dict)
    """The batch tab's predictions, by upload."""
    live: Live | None = None
    """The camera's stream, while it runs."""
    seen: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, face: int | None = None) -> None:
        """Request a prediction for the open picture, or for its face of a number."""
        with self.lock:
            self.wish = object()
            if self.opened and face is not None:
                self.opened.face = face

    def open(self, read: Callable[[], File] | None) -> None:
        """Request another picture, or none."""
        with self.lock:
            self._turn_to(None)
            self.read = read

    def reopen(self, number: int) -> Opened | None:
        """Wish for one of the last pictures again; None where it is gone."""
        with self.lock:
            found = self._find(number)
            if found:
                self._turn_to(found)
        return found

    def put_beside(self, number: int | None) -> None:
        """Request predictions for the open picture and one of the last ones, or only for it."""
        with self.lock:
            self.wish = object()
            self.beside = None if number is None else self._find(number)

    def _find(self, number: int) -> Opened | None:
        return next((one for one in self.recent if one.number == number), None)

    def _turn_to(self, opened: Opened | None) -> None:
        self.wish, self.read, self.opened = object(), None, opened
        self.beside, self.listed = None, ()
        if opened:
            self.recent = remember(self.recent, opened)

    def take(self) -> object:
        """Return the newest request, or None if it was taken."""
        with self.lock:
            wish = None if self.wish is self.taken else self.wish
            self.taken = self.wish
        return wish

    def show(self, wish: object, picture: Picture) -> Opened | None:
        """Open the picture read for a request; return None if there is a newer one."""
        with self.lock:
            if self.wish is not wish:
                return None
            self.read, self.opened = None, Opened(picture)
            self.recent = remember(self.recent, self.opened)
            return self.opened

    def give_up(self, wish: object) -> bool:
        """Close a request's picture; return False if there is a newer request."""
        with self.lock:
            if self.wish is not wish:
                return False
            self.read = self.opened = None
        return True

    def close(self) -> None:
        """Drop everything, and abandon what is running."""
        self.open(None)
        self.recent.clear()
        self.batch, self.live, self.tiles = None, None, {}


class Visitors:
    """The visitors, by their pages' session."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, request: gr.Request) -> Visitor:
        """Return a request's visitor, a new one if the page is unknown."""
        now, session = time.monotonic(), str(request.session_hash)
        with self._lock:
            visitor = self._all.pop(session, None) or Visitor()
            while self._all and (
                len(self._all) >= MOST or now - next(iter(self._all.values())).seen > IDLE
            ):
                self._all.popitem(last=False)[1].close()
            self._all[session] = visitor
            visitor.seen = now
        return visitor

    def find_again(self, request: gr.Request) -> Visitor | None:
        """Return a request's visitor, unless the page is gone."""
        return self._all.get(str(request.session_hash))

    def forget(self, session: str | None) -> None:
        """Drop a page's state, and abandon what is running for it."""
        with self._lock:
            if visitor := self._all.pop(str(session), None):
                visitor.close()
