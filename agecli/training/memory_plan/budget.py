"""A memory budget: the largest batches, at the least cost, that fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from agecli import distributed
from agecli.ages import Scheme
from agecli.config import MOST_ACCUMULATED, CapsNetConfig, Dinov2Config, TrainConfig
from agecli.errors import TrainingError, UsageError
from agecli.memory import (
    clear_device_cache,
    gigabytes,
    is_out_of_memory,
    limit_memory,
    memory_available,
)
from agecli.training.build import build_model
from agecli.training.memory_plan.footprint import Footprint, images_per_second, measure
from agecli.training.objectives import make_objective
from agecli.training.session import rows_of

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.training.observer import Observer
    from agecli.training.runs import Run

Result = TypeVar("Result")
Config = TypeVar("Config", bound=TrainConfig)

SPARE = 0.2
"""Share of the budget left free for the CUDA context, workspaces and fragmentation."""


@dataclass(frozen=True)
class Plan:
    """Settings by which a training fits its budget, and the measured footprint."""

    config: TrainConfig
    footprint: Footprint
    device: str


def plan_training(config: TrainConfig, dataset: Dataset, device: str) -> Plan:
    """Fit a training on a data set to its --vram-budget by `fit_to_budget`."""
    scheme = dataset.scheme
    objective = make_objective(config, scheme, dataset.ages)
    # A batch never exceeds the training images, so neither does the one planned for.
    images = len(rows_of(dataset, "train", objective, config))
    return fit_to_budget(replace(config, batch_size=min(config.batch_size, images)), scheme, device)


def fit_to_budget(config: TrainConfig, scheme: Scheme, device: str) -> Plan:
    """Choose micro-batch, accumulation, mixed precision and checkpointing for --vram-budget.

    The effective batch (batch size × accumulation) stays as configured, and the micro-batch as
    large as possible, since batch norm sees only that. Decided by dry runs of two steps.
    Raises TrainingError, naming the part that does not fit, if nothing fits.
    """
    if distributed.world() > 1:
        raise UsageError(
            "--vram-budget plans for one process: pass --batch-size, --accumulate, --amp and "
            "--grad-checkpoint as it chose them for one"
        )
    if device == "cuda":
        limit_memory(config.budget_bytes())
    room = int(config.budget_bytes() * (1 - SPARE))
    _check_weights(config, scheme, room)
    for micro_batch in _micro_batches(config.batch_size):
        if micro_batch < config.smallest_batch:
            break
        batches = config.accumulate * config.batch_size // micro_batch
        if batches > MOST_ACCUMULATED:
            break
        sized = replace(config, batch_size=micro_batch, accumulate=batches)
        *others, smallest = savings(sized, device)
        least = _measure(smallest, scheme, device)
        if least is None or least.peak > room:
            continue
        for trial in others:
            footprint = _measure(trial, scheme, device)
            if footprint and footprint.peak <= room:
                return Plan(trial, footprint, device)
        return Plan(smallest, least, device)
    needed = f"needs {gigabytes(least.peak)}" if least else "does not fit this device either"
    images = "one image" if sized.batch_size == 1 else f"{sized.batch_size} images"
    raise TrainingError(
        f"--vram-budget {config.vram_budget}: with {SPARE:.0%} to spare {gigabytes(room)} are "
        f"left, and a batch of {images} with --amp and --grad-checkpoint {needed}: "
        "choose a smaller --image-size" + _or_else(config)
    )


def savings(config: TrainConfig, device: str) -> list[TrainConfig]:
    """List a configuration, then variants with mixed precision and checkpointing, cheapest first.

    On a GPU mixed precision costs nothing and comes first; on a CPU it may be far slower.
    """
    amp, checkpoint = replace(config, amp=True), replace(config, grad_checkpoint=True)
    both = replace(checkpoint, amp=True)
    single = [checkpoint, amp] if device == "cpu" else [amp, checkpoint]
    return list(dict.fromkeys([config, *single, both]))


@dataclass(frozen=True)
class Surveyed:
    """A configuration, the memory of its steps, and their rate if they fit the device."""

    config: TrainConfig
    footprint: Footprint | None
    images_per_second: float | None


def survey(config: TrainConfig, scheme: Scheme, device: str) -> Iterator[Surveyed]:
    """Measure a configuration as it is, with mixed precision, with checkpointing, with both."""
    for checkpoint in (False, True):
        for amp in (False, True):
            trial = replace(config, amp=amp, grad_checkpoint=checkpoint)
            footprint = _measure(trial, scheme, device)
            rate = None
            # Linux would kill the process instead of failing the allocation.
            if footprint and (device != "cpu" or footprint.peak < memory_available()):
                rate = _or_none(images_per_second, trial, scheme, device)
            yield Surveyed(trial, footprint, rate)


def within_memory(
    train: Callable[[Config, Run, Observer], Result],
    config: Config,
    run: Run,
    observer: Observer,
) -> Result:
    """Train; when out of memory under a --vram-budget, continue with half the micro-batch.

    Raises TrainingError, with advice, if that is impossible.
    """
    while True:
        try:
            return train(config, run, observer)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # One process of several cannot change its batches alone.
            alone = distributed.world() == 1
            smaller = halve_batch(config) if config.vram_budget and alone else None
            if smaller is None:
                raise TrainingError(advice(config)) from error
        clear_device_cache()  # here, where the error no longer holds tensors
        config = smaller
        run.configure(config)
        observer.warned(
            f"out of memory: continuing with {config.accumulate} batches of {config.batch_size} "
            "per step"
        )


def advice(config: TrainConfig) -> str:
    """Return the options to try when a training runs out of memory."""
    trained = not isinstance(config, Dinov2Config) or config.trains_backbone
    ways = ["--amp"] * (not config.amp)
    ways += ["--grad-checkpoint"] * (trained and not config.grad_checkpoint)
    if smaller := halve_batch(config):
        ways.append(f"--batch-size {smaller.batch_size} --accumulate {smaller.accumulate}")
    ways.append("a smaller --image-size")
    if not config.vram_budget:
        ways.append("--vram-budget 4GB, which chooses for you")
    return (
        f"Out of memory at --batch-size {config.batch_size} and --image-size {config.image_size}: "
        f"start a new run with {', '.join(ways[:-1])} or {ways[-1]}"
    )


def halve_batch(config: Config) -> Config | None:
    """Halve the micro-batch, keeping the effective batch; return None if that is impossible."""
    if config.batch_size % 2 or config.batch_size // 2 < config.smallest_batch:
        return None
    if 2 * config.accumulate > MOST_ACCUMULATED:
        return None
    return replace(config, batch_size=config.batch_size // 2, accumulate=config.accumulate * 2)


def _micro_batches(batch_size: int) -> Iterator[int]:
    """Yield the divisors of the batch size, largest first."""
    return (size for size in range(batch_size, 0, -1) if batch_size % size == 0)


def _measure(config: TrainConfig, scheme: Scheme, device: str) -> Footprint | None:
    return _or_none(measure, config, scheme, device)


def _or_none(measured: Callable[..., Result], *arguments: Any) -> Result | None:
    """Return a measurement, or None if the device is too small for it."""
    try:
        return measured(*arguments)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        clear_device_cache()


def _check_weights(config: TrainConfig, scheme: Scheme, room: int) -> None:
    """Raise TrainingError for a model whose weights and optimiser alone exceed the budget."""
    with torch.device("meta"):
        model = build_model(config, scheme)
    copies = 5 if config.averages else 4  # weights, gradients, Adam's two moments, average

    def held(parameter: torch.nn.Parameter) -> int:
        return parameter.nbytes * (copies if parameter.requires_grad else 1 + config.averages)

    needed = sum(map(held, model.parameters()))
    if needed > room:
        name, largest = max(model.named_parameters(), key=lambda pair: held(pair[1]))
        raise TrainingError(
            f"--vram-budget {config.vram_budget}: weights, gradients, optimiser and average need "
            f"{gigabytes(needed)} for any batch, {gigabytes(held(largest))} of it the "
            f"parameter {name} {tuple(largest.shape)}, and with {SPARE:.0%} to spare "
            f"{gigabytes(room)} are left: choose a smaller --image-size" + _or_else(config)
        )


def _or_else(config: TrainConfig) -> str:
    if not isinstance(config, CapsNetConfig):
        return ""
    ways = ["--share"] * (not config.share) + ["--stem strided"] * (config.stem != "strided")
    return f", or {' and '.join(ways)}" if ways else ""
