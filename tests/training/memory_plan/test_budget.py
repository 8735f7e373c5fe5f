"""Budgets: plans that fit, at the least cost, or refusals that say what does not."""

from dataclasses import replace

import pytest

from agecli.ages import Scheme
from agecli.config import CapsNetConfig, CnnConfig, TrainConfig
from agecli.errors import TrainingError, UsageError
from agecli.memory import is_out_of_memory
from agecli.training.memory_plan import budget
from agecli.training.memory_plan.budget import advice, fit_to_budget, halve_batch, savings, survey
from agecli.training.memory_plan.footprint import Footprint, measure
from tests.launching import pretend

SCHEME = Scheme.parse("adience8")
SMALL = CapsNetConfig(image_size=32, batch_size=16, device="cpu")


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan for devices that need not be here."""
    monkeypatch.setattr(budget, "limit_memory", lambda size: None)


def fake_measure(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Make an image cost 100 MB, half of it under AMP and a quarter under checkpointing."""
    tried: list[TrainConfig] = []

    def measured(config: TrainConfig, scheme: Scheme, device: str) -> Footprint:
        tried.append(config)
        each = 10**8 / (2 if config.amp else 1) / (4 if config.grad_checkpoint else 1)
        return Footprint(0, 0, 0, 0, 0, peak=int(each * config.batch_size))

    monkeypatch.setattr(budget, "measure", measured)
    return tried


def chosen(config: TrainConfig, device: str) -> tuple[int, int, bool, bool]:
    plan = fit_to_budget(config, SCHEME, device).config
    return plan.batch_size, plan.accumulate, plan.amp, plan.grad_checkpoint


@pytest.mark.parametrize(
    ("size", "device", "expected"),
    [
        ("10GB", "cuda", (16, 1, False, False)),  # 8 GB are free for 1.6
        ("1GB", "cuda", (16, 1, True, False)),  # 0.8 GB for 0.8
        ("900MB", "cuda", (16, 1, False, True)),
        ("900MB", "cpu", (16, 1, False, True)),
        ("2GB", "cpu", (16, 1, False, False)),
        ("1GB", "cpu", (16, 1, False, True)),  # on a CPU checkpointing comes first
        ("250MB", "cuda", (16, 1, True, True)),
        ("240MB", "cuda", (8, 2, True, True)),
        ("20MB", "cuda", (1, 16, True, True)),
    ],
)
def test_takes_the_largest_batch_and_then_the_least_cost(
    monkeypatch: pytest.MonkeyPatch, size: str, device: str, expected: tuple
):
    fake_measure(monkeypatch)
    monkeypatch.setattr(budget, "_check_weights", lambda *_: None)
    assert chosen(replace(SMALL, vram_budget=size), device) == expected


def test_the_effective_batch_and_what_was_asked_for_stay(monkeypatch: pytest.MonkeyPatch):
    tried = fake_measure(monkeypatch)
    monkeypatch.setattr(budget, "_check_weights", lambda *_: None)
    config = CnnConfig(batch_size=12, accumulate=2, amp=True, vram_budget="130MB")
    assert chosen(config, "cuda") == (6, 4, True, True)
    assert all(trial.amp for trial in tried)
    assert {trial.batch_size * trial.accumulate for trial in tried} == {24}


def test_a_plan_stays_inside_by_its_own_measure():
    plain = measure(SMALL, SCHEME, "cpu").peak
    config = replace(SMALL, vram_budget=f"{plain / 1.25e6:.2f}MB")  # 80 % of it fit
    plan = fit_to_budget(config, SCHEME, "cpu")
    assert plan.footprint == measure(plan.config, SCHEME, "cpu")
    assert plan.footprint.peak <= 0.8 * config.budget_bytes() < plain
    assert plan.config.batch_size * plan.config.accumulate == 16


def test_weights_that_cannot_fit_are_named():
    config = CapsNetConfig(stem="classic", share=False, vram_budget="4GB")
    with pytest.raises(TrainingError, match=r"weight \(32, 10816, 8, 8, 16\).*--share") as error:
        fit_to_budget(config, SCHEME, "cpu")
    assert "7.09 GB" in str(error.value)  # 5 × 354 million weights of 4 bytes
    assert "--stem strided" in str(error.value)


def test_images_that_cannot_fit_are_named():
    with pytest.raises(TrainingError, match=r"batch of one image with --amp.*--image-size"):
        fit_to_budget(replace(SMALL, image_size=96, vram_budget="16MB"), SCHEME, "cpu")


def test_a_device_that_is_too_small_gets_a_smaller_batch(monkeypatch: pytest.MonkeyPatch):
    def measured(config: TrainConfig, scheme: Scheme, device: str) -> Footprint:
        if config.batch_size > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return Footprint(0, 0, 0, 0, 0, 0)

    monkeypatch.setattr(budget, "measure", measured)
    assert chosen(replace(SMALL, vram_budget="4GB"), "cuda") == (4, 4, False, False)


def test_other_errors_are_not_taken_for_too_little_memory(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(budget, "measure", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        fit_to_budget(replace(SMALL, vram_budget="4GB"), SCHEME, "cpu")


def test_savings_hold_each_way_once():
    ways = savings(replace(SMALL, amp=True), "cuda")
    assert [(way.amp, way.grad_checkpoint) for way in ways] == [(True, False), (True, True)]
    assert len(savings(SMALL, "cuda")) == 4


def test_halving_keeps_the_effective_batch():
    half = halve_batch(CnnConfig(batch_size=6, accumulate=2))
    assert half and (half.batch_size, half.accumulate) == (3, 4)
    assert halve_batch(CnnConfig(batch_size=3)) is None


def test_no_more_batches_are_accumulated_than_may_be(monkeypatch: pytest.MonkeyPatch):
    assert halve_batch(CnnConfig(batch_size=2, accumulate=4096)) is None
    assert "4096" not in advice(CnnConfig(batch_size=2, accumulate=4096))
    fake_measure(monkeypatch)
    monkeypatch.setattr(budget, "_check_weights", lambda *_: None)
    config = CnnConfig(batch_size=64, accumulate=1024, vram_budget="20MB")
    with pytest.raises(TrainingError, match="batch of 16 images"):
        fit_to_budget(config, SCHEME, "cpu")


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, 2)
    with pytest.raises(UsageError, match="one process"):
        fit_to_budget(replace(SMALL, vram_budget="4GB"), SCHEME, "cpu")


@pytest.mark.parametrize(
    "text", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory",
             "GET was unable to find an engine to execute this computation"]
)  # fmt: skip
def test_out_of_memory_has_many_names(text: str):
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_the_advice_leaves_out_what_is_done_already():
    text = advice(CnnConfig(amp=True, batch_size=8))
    assert "--amp" not in text and "--grad-checkpoint" in text
    assert "--batch-size 4 --accumulate 2" in text and "--vram-budget" in text


def test_a_survey_measures_the_four_ways():
    rows = list(survey(replace(SMALL, batch_size=2, amp=True), SCHEME, "cpu"))
    assert [(row.config.amp, row.config.grad_checkpoint) for row in rows] == [
        (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip
    assert all(row.footprint and row.images_per_second for row in rows)


def test_what_main_memory_cannot_hold_is_counted_but_not_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "memory_available", lambda: 0)
    rows = list(survey(replace(SMALL, batch_size=2), SCHEME, "cpu"))
    assert all(row.footprint and row.images_per_second is None for row in rows)
