"""How a training tells of itself, without printing; free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agecli.training.memory_plan.budget import Plan
    from agecli.training.records import Epoch, Started, Step


class Observer:
    """Hears of a training's events; the base class ignores them all."""

    def opened(self, run: Path) -> None:
        """Hear in which folder the training keeps its results, and could be resumed."""

    def planned(self, plan: Plan) -> None:
        """Hear by what settings the training stays inside its memory budget."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Hear how far work in front of the training is: features of so many images."""

    def started(self, training: Started) -> None:
        """Hear what is about to be trained."""

    def stepped(self, step: Step) -> None:
        """Hear of a step, a few times a second."""

    def finished_epoch(self, epoch: Epoch) -> None:
        """Hear how an epoch went, once it is kept in the run's folder."""

    def warned(self, text: str) -> None:
        """Hear something worth a line: what went otherwise than asked, or was found out."""
