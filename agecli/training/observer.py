"""How a training tells of itself, without printing; free of torch."""

from __future__ import annotations

from typing import Any


class Observer:
    """Hears of a training's events; the base class ignores them all."""

    def started(self, facts: dict[str, Any]) -> None:
        """Hear what is about to be trained: model, parameters, images, device, run, epochs."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Hear how far work in front of the training is: features of so many images."""

    def stepped(self, progress: dict[str, Any]) -> None:
        """Hear of a step, a few times a second: epoch, step, steps, loss, lr, rate, memory."""

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """Hear an epoch's line of metrics.jsonl."""

    def warned(self, text: str) -> None:
        """Hear something worth a line: what went otherwise than asked, or was found out."""
