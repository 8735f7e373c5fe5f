"""Divide images among the processes of a launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

from agecli import distributed
from agecli.inference.prediction import Prediction

ROUND = 64
"""Images per process and round, after which predictions are gathered."""


def predict_distributed(
    predict: Callable[[Sequence[Path]], Iterator[Prediction]], sources: Sequence[Path]
) -> Iterator[Prediction]:
    """Yield the predictions of a function for sources; the processes of a launch divide the work.

    In rounds: each predicts its part of the next sources, and all yield all of a round.
    """
    rank, world = distributed.rank(), distributed.world()
    if world == 1:
        yield from predict(sources)
        return
    size = min(ROUND, -(-len(sources) // world))
    parts = [sources[start : start + size] for start in range(0, len(sources), size)]
    parts += [[]] * (-len(parts) % world)  # each process has one in every round
    own = parts[rank::world]
    answers = predict([source for part in own for source in part])
    pictures = (list(rows) for _, rows in groupby(answers, lambda row: row.source))
    for part in own:
        for process in distributed.gather(list(islice(pictures, len(part)))):
            for rows in process:
                yield from rows
