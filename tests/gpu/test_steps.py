"""Steps: none waits for the GPU, and they compute on it what they do on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agecli.config import Augment
from agecli.data.augment import Draw
from agecli.data.batches import Batches, to_augmented_input
from agecli.training import fastai_callbacks, loop
from agecli.training.loop import MovingAverage
from tests.archives import SPREAD_AGES, draw_face
from tests.gpu.trainings import KINDS, Toys, run_training

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.mark.parametrize("amp", [False, True], ids=["fp32", "amp"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_waits(
    kind: str, amp: bool, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """torch raises an error for what waits, from an epoch's second step to the last but one.

    The last one of an epoch reports, which has to wait for its loss; so do all after 0.25 s.
    """
    watched: list[int] = []
    epoch = Batches.epoch

    def watch(mode: str) -> None:
        if toys.device == "cuda":
            torch.cuda.set_sync_debug_mode(mode)

    def quiet(self: Batches, number: int = 0) -> Iterator[Any]:
        try:
            for step, batch in enumerate(epoch(self, number)):
                inside = self.shuffle and 0 < step < len(self) - 1
                watched.extend([step] * inside)
                watch("error" if inside else "default")
                yield batch
        finally:
            watch("default")

    monkeypatch.setattr(Batches, "epoch", quiet)
    for module in (loop, fastai_callbacks):
        monkeypatch.setattr(module, "REPORT_SECONDS", 1e9)
    config = toys.config(kind, augment="wild", amp=amp, epochs=1, batch_size=8, limit=100)
    try:
        run_training(config, tmp_path / "run")
    finally:
        watch("default")
    assert len(watched) > 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("augment", ["light", "wild"])
def test_images_are_augmented_as_on_the_cpu(
    augment: Augment, seed: int, exact, device: str, monkeypatch: pytest.MonkeyPatch
):
    """The device draws nothing but the noise of erased rectangles, which is left out here."""
    monkeypatch.setattr(
        Draw, "noise",
        lambda self, low, high, *shape: torch.full((self.count, *shape), high, device=self.device),
    )  # fmt: skip
    faces = [np.array(draw_face(age, seed)) for age in SPREAD_AGES * 4]
    images = torch.from_numpy(np.stack(faces))  # (40, 64, 64, 3), not to be resized
    found, expected = (
        to_augmented_input(
            images.to(place), 64, (0.0,) * 3, (1 / 255,) * 3, augment, np.random.default_rng(seed)
        ).cpu()
        for place in (device, "cpu")
    )  # values 0 to 255
    assert found.shape == (40, 3, 64, 64)
    near = (found - expected).abs() <= 0.5
    if augment == "light":
        assert near.all()
    else:
        # JPEG rounds a tie either way, and one coefficient is all of a block.
        assert near.float().mean() > 0.99


def test_a_moving_average_follows_its_formula(device: str):
    model = nn.Linear(1, 1, bias=False).to(device)
    nn.init.ones_(model.weight)
    average = MovingAverage(model, 0.5)
    expected = 1.0
    for step, value in enumerate([2.0, 3.0, 4.0, 10.0], start=1):
        nn.init.constant_(model.weight, value)
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.model.weight.device.type == device
    assert average.model.weight.item() == pytest.approx(expected)
