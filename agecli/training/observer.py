"""How a training reports its progress without printing; without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agecli.training.memory_plan.budget import Plan
    from agecli.training.records import Epoch, Started, Step


class Observer:
    """Receives a training's events; the base class ignores them all."""

    def opened(self, run: Path) -> None:
        """Receive the run's folder, from which the training can be resumed."""

    def planned(self, plan: Plan) -> None:
        """Receive the settings that fit the training to its memory budget."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Receive the progress of work before the training, such as computing features."""

    def started(self, training: Started) -> None:
        """Receive a description of the training that is about to start."""

    def stepped(self, step: Step) -> None:
        """Receive a step, a few times a second."""

    def finished_epoch(self, epoch: Epoch) -> None:
        """Receive an epoch, once it is saved in the run's folder."""

    def warned(self, text: str) -> None:
        """Receive a one-line notice: a deviation from the settings, or something found out."""
