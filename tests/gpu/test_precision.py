"""Trainings in mixed precision, and with recomputed activations, against those in fp32."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch

from agecli.training.runs import Run
from tests.gpu.trainings import KINDS, Toys, losses, run_training

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::FutureWarning")]

Plain = tuple[str, Run]


@pytest.fixture(scope="module", params=KINDS)
def plain(
    request: pytest.FixtureRequest, toys: Toys, tmp_path_factory: pytest.TempPathFactory
) -> Plain:
    """Return a kind of training, and its run in fp32."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return request.param, run_training(toys.config(request.param), folder)


def assert_alike(run: Run, plain: Run) -> None:
    """Check that the loss falls, and is that of fp32 in each epoch.

    A type of 8 bits (bf16) rounds each value by up to 0.4 %, at random: a loss, which is a mean
    over many, by less; over the steps the weights part, too. In validation, behind batch norms that
    have averaged some 20 batches, a loss still leaps from epoch to epoch: on an H100 by 14 %.
    """
    found, expected = np.array(losses(run)), np.array(losses(plain))
    assert found[-1, 0] < found[0, 0]
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=0.05)
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=0.25)


def test_bf16_trains_as_fp32(plain: Plain, toys: Toys, tmp_path: Path):
    kind, exact = plain
    run = run_training(toys.config(kind, amp=True), tmp_path / "run")
    assert losses(run) != losses(exact)
    assert not run.load()["scaler"]  # bf16 has the range of fp32
    assert_alike(run, exact)


def test_fp16_trains_as_fp32_with_scaled_gradients(
    plain: Plain, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kind, exact = plain
    if toys.device == "cpu":
        pytest.skip("fp16 is for GPUs: accelerate refuses it on a CPU, which computes it slowly")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    # At its usual start, 65536, gradients overflow, and the first steps are left out until it has
    # come down: of a toy training's few steps too many to compare.
    scale = partialmethod(torch.amp.GradScaler.__init__, init_scale=256.0)
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", scale)
    run = run_training(toys.config(kind, amp=True), tmp_path / "run")
    scaler = run.load()["scaler"]
    assert 1 < scaler["scale"] <= 256
    assert_alike(run, exact)


def test_recomputed_activations_change_nothing(plain: Plain, toys: Toys, tmp_path: Path):
    kind, exact = plain
    run = run_training(toys.config(kind, grad_checkpoint=True), tmp_path / "run")
    # The same kernels on the same numbers; but some of CUDA's add in an order of their own.
    np.testing.assert_allclose(losses(run), losses(exact), rtol=1e-3)
