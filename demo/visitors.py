"""What visitors have on their pages: in memory while a page is open, and dropped when it goes.

Gradio's own gr.State outlives its page by an hour, and what is running writes to it last.
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
"""Visitors in memory; the one who has been away the longest is forgotten first."""
IDLE = 3600
"""Seconds after which a visitor who does nothing is forgotten, though the page is still open."""


@dataclass
class Visitor:
    """A page, by its newest wish; older ones are given up wherever they are."""

    wish: object = None
    """What was asked for last: compared by identity."""
    taken: object = None
    """The wish that is worked on, or was fulfilled."""
    read: Callable[[], File] | None = None
    """Reads the picture that is to be opened."""
    opened: Opened | None = None
    """The picture that is open."""
    listed: tuple[str, ...] = ()
    """The models by which all of its faces are answered for."""
    recent: list[Opened] = field(default_factory=list)
    """The last pictures, the newest first, with the open one among them."""
    beside: Opened | None = None
    """The one that the open picture is compared with."""
    batch: object = None
    """The newest wish of the batch tab; None where there is none, or it was cancelled."""
    tiles: dict[str, Any] = field(default_factory=dict)
    """What the batch tab has answered, by upload."""
    live: Live | None = None
    """The camera's stream, while it runs."""
    seen: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, face: int | None = None) -> None:
        """Wish for an answer about the picture that is open, or its face of a number."""
        with self.lock:
            self.wish = object()
            if self.opened and face is not None:
                self.opened.face = face

    def open(self, read: Callable[[], File] | None) -> None:
        """Wish for another picture, or for none."""
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
        """Wish for an answer about the open picture and one of the last ones, or for it alone."""
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
        """Return the newest wish, or None where it was taken."""
        with self.lock:
            wish = None if self.wish is self.taken else self.wish
            self.taken = self.wish
        return wish

    def show(self, wish: object, picture: Picture) -> Opened | None:
        """Open the picture that was read for a wish; None where there is a newer wish."""
        with self.lock:
            if self.wish is not wish:
                return None
            self.read, self.opened = None, Opened(picture)
            self.recent = remember(self.recent, self.opened)
            return self.opened

    def give_up(self, wish: object) -> bool:
        """Close the picture that a wish was about; False where there is a newer wish."""
        with self.lock:
            if self.wish is not wish:
                return False
            self.read = self.opened = None
        return True

    def close(self) -> None:
        """Drop all, and give up what is running."""
        self.open(None)
        self.recent.clear()
        self.batch, self.live, self.tiles = None, None, {}


class Visitors:
    """The visitors, by their pages' session."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, request: gr.Request) -> Visitor:
        """Return who asks; a new one where the page is not known (any more)."""
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
        """Return who asks, unless the page is gone."""
        return self._all.get(str(request.session_hash))

    def forget(self, session: str | None) -> None:
        """Drop what a page had, and give up what is running for it."""
        with self._lock:
            if visitor := self._all.pop(str(session), None):
                visitor.close()
