"""Processes of a launch that answer for the same pictures."""

from pathlib import Path

import pytest

from agecli.inference import sharing
from agecli.inference.prediction import Prediction
from tests.launching import Threads


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 3, 7, 12])
def test_processes_share_pictures_and_yield_all_in_order(
    monkeypatch: pytest.MonkeyPatch, world: int, count: int
):
    """Rounds of two pictures a process; a picture's faces stay together."""
    answered: list[int] = []
    monkeypatch.setattr(sharing, "ROUND", 2)
    sources = [Path(str(number)) for number in range(count)]

    def predict(paths):
        answered.append(len(paths))
        for path in paths:
            for face in range(1 + int(str(path)) % 3):
                yield Prediction(str(path), model=str(face))

    expected = [(str(n), str(face)) for n in range(count) for face in range(1 + n % 3)]
    for rows in Threads(monkeypatch, world).run(
        lambda: list(sharing.predict_distributed(predict, sources))
    ):
        assert [(row.source, row.model) for row in rows] == expected
    assert sum(answered) == count
    assert max(answered) - min(answered) <= 2
