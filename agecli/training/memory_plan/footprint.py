"""What training steps need of memory: by the allocator on CUDA, elsewhere by counting tensors."""

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
"""Optimiser steps of a dry run: the first makes the optimiser's state, the second has it."""


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
    """What is saved of one batch for its backward pass, parameters left out, but not the copies
    of them in half precision."""
    peak: int
    """The most at once: all of the above and what passes by."""


def measure(
    config: TrainConfig, scheme: Scheme, device: str, *, counted: bool = False
) -> Footprint:
    """Run two optimiser steps on made-up images and measure what they hold.

    On CUDA the steps are real, and the allocator tells. Elsewhere, and if counted, they run on
    tensors without content: the same bytes on every machine, and no memory is needed.
    """
    real = device == "cuda" and not counted
    meter: AllocatorMeter | CountingMeter = AllocatorMeter() if real else CountingMeter()
    steps = DrySteps(config, scheme, device, fake=not real)
    with steps.mode, meter.watch(steps.tensors()):
        for _ in range(STEPS):
            for _ in range(min(config.accumulate, 2)):  # gradients are there from the second on
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
    """Measure the rate of real training steps on made-up images, after a first one to warm up."""
    if device == "cpu":
        keep_freed_memory()  # as a training does
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
    """Add up the bytes of tensors; whatever else is among them counts nothing."""
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


class DrySteps:
    """Training steps on made-up images, with all that a real step holds.

    fake: on tensors that have shapes but no content (torch's fake tensors), inside of `mode`. They
    lie on the CPU, where torch knows them without a driver, but run what the device would.
    """

    def __init__(self, config: TrainConfig, scheme: Scheme, device: str, *, fake: bool) -> None:
        self.config = config
        self.age = scheme.bounds[0][0]  # one that has a group, as images of any objective
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
        """Yield what there is before the first step, of any shape."""
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
        # How many images wild changes is drawn, and unknown where tensors are only counted.
        kind: Augment = "light" if config.augment == "wild" else config.augment
        batch = to_augmented_input(
            images, config.image_size, config.mean, config.std, kind, self.generator,
        )  # fmt: skip
        ages = torch.full((len(batch),), self.age, device=self.device)
        soft = self.teacher(batch) if self.teacher else None
        return self.objective.training_loss(self._model, batch, ages, soft)

    def update(self) -> None:
        """Take an optimiser step, as the engine does."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.model)

    def _model(self, *inputs: Tensor) -> Any:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            return self.model(*inputs)


class AllocatorMeter:
    """Reads what steps hold from CUDA's allocator."""

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
        """Measure what a forward pass leaves behind."""
        before = torch.cuda.memory_allocated()
        yield
        self.activations = torch.cuda.memory_allocated() - before


class CountingMeter:
    """Counts the tensors that steps hold."""

    def __init__(self) -> None:
        self.activations = 0

    @contextmanager
    def watch(self, existing: Iterable[Tensor]) -> Iterator[None]:
        """Count the tensors that live inside the block, and what there is before it."""
        with LiveTensors(existing) as live:
            yield
        self.peak = live.peak

    @contextmanager
    def forward(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Count what a forward pass saves for backward."""
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
        """Count from here on."""
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Count no further."""
        self._hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        """The count so far."""
        return sum(self._sizes.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._left_out:
            # A saved storage lives on, so that its address stays its own.
            self._sizes[storage._cdata] = storage.nbytes()
        return tensor


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that there are, and their peak.

    existing: tensors from before; of the others, all that operations inside the block make count,
    until they are freed. What an operation allocates for itself alone does not show.
    """

    def __init__(self, existing: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in existing:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the tensors that it made."""
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
