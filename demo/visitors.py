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
    picture: Picture | None = None
    face: int = 0
    listed: bool = False
    """Whether all of its faces are answered for."""
    batch: object = None
    """The newest wish of the batch tab."""
    tiles: dict[str, Any] = field(default_factory=dict)
    """What the batch tab has answered, by upload."""
    live: Live | None = None
    """The camera's stream, while it runs."""
    seen: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, face: int | None = None) -> None:
        """Wish for an answer about the picture that is open, or its face of a number."""
        with self.lock:
            self.wish, self.face = object(), self.face if face is None else face

    def open(self, read: Callable[[], File] | None) -> None:
        """Wish for another picture, or for none."""
        with self.lock:
            self.wish, self.read, self.picture, self.face = object(), read, None, 0
            self.listed = False

    def take(self) -> object:
        """Return the newest wish, or None where it was taken."""
        with self.lock:
            wish = None if self.wish is self.taken else self.wish
            self.taken = self.wish
        return wish

    def opened(self, wish: object, picture: Picture | None) -> bool:
        """Keep the picture that was read for a wish; False where there is a newer one."""
        with self.lock:
            if self.wish is not wish:
                return False
            self.read, self.picture = None, picture
        return True

    def close(self) -> None:
        """Drop all, and give up what is running."""
        self.open(None)
        self.batch, self.live = object(), None
        self.tiles.clear()


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
