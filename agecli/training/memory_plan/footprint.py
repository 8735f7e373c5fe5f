"""Memory of training steps: from the allocator on CUDA, elsewhere by counting tensors."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agecli.ages import YEARS, Scheme
from agecli.config import Augment, PrepareConfig, TrainConfig
from agecli.data.batches import to_augmented_input
from agecli.memory import keep_freed_memory
from agecli.models.dinov2 import Dinov2
from agecli.training.build import build_model, build_optimizer
from agecli.training.devices import autocast_dtype, mixed_precision
from agecli.training.loop import MovingAverage
from agecli.training.objectives import make_objective
from agecli.training.teacher import make_teacher

STEPS = 2
"""Optimiser steps of a dry run: the first creates the optimiser's state, the second has it."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that training steps hold on the device."""

    parameters: int
    """Weights and buffers."""
    gradients: int
    optimizer: int
    """Adam's two moments."""
    average: int
    """The moving average of the weights."""
    activations: int
    """Activations saved for one batch's backward pass: without parameters, but with the copies
    of them in half precision."""
    peak: int
    """The peak: all of the above and temporary tensors."""


def measure(
    config: TrainConfig, scheme: Scheme, device: str, *, counted: bool = False
) -> Footprint:
    """Run two optimiser steps on synthetic images and measure their memory.

    On CUDA the steps are real, and the allocator reports. Elsewhere, and if counted, they run on
    tensors without content: the same bytes on every machine, and no memory needed.
    """
    real = device == "cuda" and not counted
    meter: AllocatorMeter | CountingMeter = AllocatorMeter() if real else CountingMeter()
    steps = DrySteps(config, scheme, device, fake=not real)
    with steps.mode, meter.watch(steps.tensors()):
        for _ in range(STEPS):
            for _ in range(min(config.accumulate, 2)):  # from the second on there are gradients
                with meter.forward(steps.model.parameters()):
                    loss = steps.forward()
                loss.backward()
                del loss
            gradients = nbytes(parameter.grad for parameter in steps.model.parameters())
            steps.update()
    return Footprint(
        parameters=nbytes([*steps.model.parameters(), *steps.model.buffers()]),
        gradients=gradients,
        optimizer=nbytes(tree_leaves(list(steps.optimizer.state.values()))),
        average=nbytes(steps.average.model.state_dict().values()) if steps.average else 0,
        activations=meter.activations,
        peak=meter.peak,
    )


def images_per_second(config: TrainConfig, scheme: Scheme, device: str) -> float:
    """Measure the rate of real training steps on synthetic images, after one to warm up."""
    if device == "cpu":
        keep_freed_memory()  # as in training
    steps = DrySteps(config, scheme, device, fake=False)
    for number in range(STEPS + 1):
        if device != "cpu":
            torch.accelerator.synchronize()
        if number == 1:
            started = time.perf_counter()
        steps.forward().backward()
        steps.update()
    if device != "cpu":
        torch.accelerator.synchronize()
    return STEPS * config.batch_size / (time.perf_counter() - started)


def nbytes(tensors: Iterable[Any]) -> int:
    """Sum the bytes of tensors, ignoring other objects."""
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


class DrySteps:
    """Training steps on synthetic images that hold all that a real step holds.

    fake: on tensors that have shapes but no content (torch's fake tensors), inside `mode`. They
    lie on the CPU, where torch knows them without a driver, but run what the device would.
    """

    def __init__(self, config: TrainConfig, scheme: Scheme, device: str, *, fake: bool) -> None:
        self.config = config
        self.age = scheme.bounds[0][0]  # an age with a group, which every objective accepts
        self.device = torch.device("cpu" if fake else device)
        self.mode: Any = nullcontext()
        precision = mixed_precision(config, device)
        self.dtype = autocast_dtype(precision)
        model = build_model(config, scheme).to(self.device)
        if isinstance(model, Dinov2):
            model.attend(device)
        objective = make_objective(config, scheme, np.arange(YEARS)).to(self.device)
        average = MovingAverage(model, config.ema) if config.averages else None
        teacher = make_teacher(config, scheme)
        parts = model, objective, average, teacher.to(self.device) if teacher else None
        if fake:
            self.mode = FakeTensorMode()
            with FakeCopyMode(self.mode):
                parts = copy.deepcopy(parts)
        self.model, self.objective, self.average, self.teacher = parts
        with self.mode:
            self.optimizer = build_optimizer(config, self.model)
        self.generator = np.random.default_rng(0)

    def tensors(self) -> Iterator[Tensor]:
        """Yield the tensors that exist before the first step, of any shape."""
        average = self.average.model if self.average else None
        for module in filter(None, (self.model, self.objective, average, self.teacher)):
            yield from module.parameters()
            yield from module.buffers()

    def forward(self) -> Tensor:
        """Return the loss () of a batch, made from images as they are stored, (B, S, S, 3)."""
        side = PrepareConfig.size
        images = torch.zeros(
            self.config.batch_size, side, side, 3, dtype=torch.uint8, device=self.device
        )
        config = self.config
        # The number of images that `wild` changes is random: unknown if tensors are only counted.
        kind: Augment = "light" if config.augment == "wild" else config.augment
        batch = to_augmented_input(
            images, config.image_size, config.mean, config.std, kind, self.generator,
        )  # fmt: skip
        ages = torch.full((len(batch),), self.age, device=self.device)
        soft = self.teacher(batch) if self.teacher else None
        return self.objective.training_loss(self._model, batch, ages, soft)

    def update(self) -> None:
        """Take an optimiser step, like the engine."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.model)

    def _model(self, *inputs: Tensor) -> Any:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            return self.model(*inputs)


class AllocatorMeter:
    """Reads the memory of steps from CUDA's allocator."""

    def __init__(self) -> None:
        torch.cuda.empty_cache()
        self._before = torch.cuda.memory_allocated()
        self.activations = 0

    @contextmanager
    def watch(self, existing: Iterable[Tensor]) -> Iterator[None]:
        """Measure the peak inside the block."""
        torch.cuda.reset_peak_memory_stats()
        yield
        self.peak = torch.cuda.max_memory_allocated() - self._before

    @contextmanager
    def forward(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Measure what a forward pass keeps allocated."""
        before = torch.cuda.memory_allocated()
        yield
        self.activations = torch.cuda.memory_allocated() - before


class CountingMeter:
    """Counts the bytes of the tensors that steps hold."""

    def __init__(self) -> None:
        self.activations = 0

    @contextmanager
    def watch(self, existing: Iterable[Tensor]) -> Iterator[None]:
        """Count the tensors that live inside the block, and those that existed before it."""
        with LiveTensors(existing) as live:
            yield
        self.peak = live.peak

    @contextmanager
    def forward(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Count what a forward pass saves for the backward pass."""
        with SavedTensors(parameters) as saved:
            yield
        self.activations = saved.bytes


class SavedTensors:
    """Counts the bytes that autograd saves for backward, each storage once, without parameters."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._left_out = {parameter.untyped_storage()._cdata for parameter in parameters}
        self._sizes: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> SavedTensors:
        """Start counting."""
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        self._hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        """Return the bytes so far."""
        return sum(self._sizes.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._left_out:
            # A saved storage stays alive, so that its address is not reused.
            self._sizes[storage._cdata] = storage.nbytes()
        return tensor


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of live tensors, and their peak.

    existing: tensors from before. All tensors that operations inside the block create count
    until they are freed. An operation's internal workspace does not show.
    """

    def __init__(self, existing: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in existing:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the tensors that it created."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def forget(_: Any) -> None:
            del self._alive[key]
            self.bytes -= size

        self._alive[key] = weakref.ref(storage, forget)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
