"""The count of memory against hand-worked cases and against real steps."""

import pytest
import torch
from torch import nn

from agecli.ages import Scheme
from agecli.config import CapsNetConfig, CnnConfig, TrainConfig
from agecli.training.memory_plan import footprint
from agecli.training.memory_plan.footprint import (
    CountingMeter,
    DrySteps,
    LiveTensors,
    SavedTensors,
    images_per_second,
    measure,
    nbytes,
)

SCHEME = Scheme.parse("adience8")


def small(model: str = "cnn", **settings) -> TrainConfig:
    kind = {"cnn": CnnConfig, "capsnet": CapsNetConfig}[model]
    return kind(**({"image_size": 32, "batch_size": 4, "device": "cpu"} | settings))


def test_saved_tensors_of_a_network_worked_by_hand():
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5), nn.Sigmoid())
    x = torch.randn(4, 10)
    with SavedTensors(net.parameters()) as saved:
        net(x).sum().backward()
    # The first layer keeps x, ReLU its result (which is the second layer's input, counted once),
    # sigmoid its result; weights are no activations; biases and sums keep nothing.
    assert saved.bytes == 4 * (4 * 10 + 4 * 20 + 4 * 5)


def test_saved_tensors_of_half_precision_count_the_cast_weight():
    layer, x = nn.Linear(10, 20), torch.randn(4, 10, requires_grad=True)
    with SavedTensors(layer.parameters()) as saved, torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert saved.bytes == 2 * (4 * 10 + 20 * 10)


def test_live_tensors_follow_what_is_made_and_freed():
    before = torch.zeros(100)
    with LiveTensors([before]) as live:
        assert live.bytes == 400
        a = torch.zeros(1000)
        view = a[10:20].reshape(2, 5)  # the same storage
        assert live.bytes == 4400
        b = a + 1
        assert live.bytes == 8400
        del a, view
        assert live.bytes == 4400
        b.add_(1)
        del b, before
    assert (live.bytes, live.peak) == (0, 8400)


@pytest.mark.parametrize(
    "settings",
    [{}, {"amp": True}, {"grad_checkpoint": True}, {"amp": True, "grad_checkpoint": True},
     {"accumulate": 3, "ema": 0.0}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("model", ["cnn", "capsnet"])
def test_tensors_without_content_count_as_real_ones_do(
    model: str, settings: dict, monkeypatch: pytest.MonkeyPatch
):
    config = small(model, **settings)
    counted = measure(config, SCHEME, "cpu")

    class RealSteps(DrySteps):
        def __init__(self, *arguments, fake: bool) -> None:
            super().__init__(*arguments, fake=False)

    monkeypatch.setattr(footprint, "DrySteps", RealSteps)
    real = measure(config, SCHEME, "cpu")
    # The CPU keeps a half-precision batch norm's statistics in fp32, a GPU does not.
    assert counted.activations == pytest.approx(real.activations, rel=2e-3)
    if not config.amp:
        assert counted.activations == real.activations
    assert counted.peak == pytest.approx(real.peak, rel=1e-3)  # a step counter is real or not
    for part in ("parameters", "gradients", "optimizer", "average"):
        assert getattr(counted, part) == pytest.approx(getattr(real, part), rel=1e-3), part


def test_the_parts_are_those_of_the_model():
    steps = DrySteps(small(), SCHEME, "cpu", fake=False)
    weights = nbytes(steps.model.parameters())
    found = measure(small(), SCHEME, "cpu")
    assert found.parameters == weights + nbytes(steps.model.buffers()) == found.average
    assert found.gradients == weights
    assert found.optimizer == pytest.approx(2 * weights, rel=1e-3)
    fixed = found.parameters + found.gradients + found.optimizer + found.average
    assert found.peak > fixed
    assert measure(small(ema=0.0), SCHEME, "cpu").average == 0


def test_activations_grow_with_the_batch_and_weights_do_not():
    one, two = (measure(small(batch_size=size), SCHEME, "cpu") for size in (8, 16))
    assert two.activations == pytest.approx(2 * one.activations, rel=0.02)
    assert two.parameters == one.parameters


@pytest.mark.parametrize("model", ["cnn", "capsnet"])
def test_mixed_precision_and_checkpointing_save_what_the_project_promises(model: str):
    settings = {"image_size": 224, "batch_size": 8}
    plain = measure(small(model, **settings), SCHEME, "cpu")
    saving = measure(small(model, **settings, amp=True, grad_checkpoint=True), SCHEME, "cpu")
    assert saving.activations < 0.4 * plain.activations
    assert saving.peak < plain.peak


def test_the_meter_keeps_the_last_forward_pass():
    meter = CountingMeter()
    for count in (3, 5):
        x = torch.randn(count, requires_grad=True)
        with meter.forward([]):
            x.exp()
    assert meter.activations == 5 * 4


def test_any_scheme_can_be_measured():
    scheme = Scheme.parse("5-20,40-60")  # the age of the made-up images must be in a group
    loss = DrySteps(small("capsnet"), scheme, "cpu", fake=False).forward()
    assert loss.isfinite()


def test_the_rate_is_that_of_real_steps():
    assert images_per_second(small(), SCHEME, "cpu") > 0
