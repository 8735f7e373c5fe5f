"""Features of a frozen backbone: computed once, cached in the data folder, mapped into memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from agecli import distributed
from agecli.ages import IntArray
from agecli.config import Dinov2Config
from agecli.data.batches import Batches, to_augmented_input, to_input
from agecli.data.store import Dataset
from agecli.errors import TrainingError
from agecli.files import room_for
from agecli.models.dinov2 import Dinov2
from agecli.training.devices import autocast, mixed_precision
from agecli.training.session import hash_seed

DTYPES = {torch.float32: "F32", torch.float64: "F64"}

Tell = Callable[[int, int], None]
"""Called with the number of images done and in all."""


def cache_features(
    model: Dinov2, dataset: Dataset, rows: IntArray, config: Dinov2Config, device: torch.device,
    view: int = 0, tell: Tell = lambda done, total: None,
) -> Path:  # fmt: skip
    """Compute the features of rows of the store unless they are cached; return the cache's file.

    rows: (N,) of the store; the file holds their features (N, F). view: 0 is the images
    as they are; each other view is augmented differently. The cache is a safetensors file in
    DATA/features, named by a hash of all that it depends on. A stopped computation continues
    at the next batch; of two trainings, one waits for the other. All processes of a launch
    compute; the first writes the file. Raises TrainingError for features that are not finite.
    """
    key = _key(dataset, rows, config, device, view)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = dataset.folder / "features" / f"{digest}.safetensors"
    compute = partial(extract, model, dataset, rows, config, device, view)
    if not distributed.is_main():
        for _ in compute(distributed.broadcast(0)):
            pass  # the first process does the rest
        return path
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        unfinished, lock = path.with_suffix(".partial"), path.with_suffix(".lock")
        with FileLock(lock):  # a file beside it: taking a lock may empty the file that is locked
            if missing := not path.is_file():  # another training may have written it meanwhile
                with room_for(path), unfinished.open("a+b") as file:
                    _fill(file, model, len(rows), config, key, compute, tell)
                unfinished.replace(path)
            lock.unlink(missing_ok=True)
        if missing:
            return path
    distributed.broadcast(len(rows))  # all is computed
    return path


def read_features(path: Path) -> Tensor:
    """Map a cache file's features (N, F) into memory."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor("features")


def _fill(
    file: IO[bytes], model: Dinov2, count: int, config: Dinov2Config, key: dict[str, Any],
    compute: Callable[[int], Iterator[Tensor]], tell: Tell,
) -> None:  # fmt: skip
    """Write the header, if missing, and the features of the missing rows.

    compute: yields the features (B, F) from a given row on.
    """
    dtype, width = model.head.linear.weight.dtype, len(model.head.mean)
    row_bytes = width * dtype.itemsize
    header = _header(dtype, (count, width), {name: str(value) for name, value in key.items()})
    if file.seek(0, 2) < len(header):
        file.truncate(0)
        file.write(header)
        file.flush()
    done = (file.tell() - len(header)) // row_bytes
    done -= done % config.batch_size  # a view's randomness is drawn per batch
    file.truncate(len(header) + done * row_bytes)
    for features in compute(distributed.broadcast(done)):
        if not torch.isfinite(features).all():
            raise TrainingError(
                f"{config.backbone} produces features that are not finite"
                + (": leave out --amp" if config.amp else ": choose another --backbone")
            )
        file.write(features.numpy().tobytes())
        file.flush()
        done += len(features)
        tell(done, count)


def extract(
    model: Dinov2, dataset: Dataset, rows: IntArray, config: Dinov2Config, device: torch.device,
    view: int = 0, start: int = 0,
) -> Iterator[Tensor]:  # fmt: skip
    """Yield the features of the store's rows from one on, in batches (B, F) on the CPU.

    The processes of a launch compute batches in turn; each process yields all of them.
    """
    rank, world = distributed.rank(), distributed.world()
    starts = range(start, len(rows), config.batch_size)
    own = _compute(model, dataset, rows, config, device, view, starts[rank::world])
    for _ in range(0, len(starts), world):
        for features in distributed.gather(next(own, None)):
            if features is not None:  # the last round may have fewer batches than processes
                yield features


@torch.inference_mode()
def _compute(
    model: Dinov2, dataset: Dataset, rows: IntArray, config: Dinov2Config, device: torch.device,
    view: int, starts: range,
) -> Iterator[Tensor]:  # fmt: skip
    """Yield the features of the batches that start at the given rows.

    An augmented view is seeded by the row's number.
    """
    model.eval()
    size = config.batch_size
    own = np.concatenate([rows[:0], *(rows[start : start + size] for start in starts)])
    batches = Batches(
        dataset.images, own, batch_size=size, threads=config.workers, pinned=device.type == "cuda"
    )
    kept = model.head.linear.weight.dtype
    look = config.image_size, config.mean, config.std
    for start, (images, _) in zip(starts, batches.epoch(), strict=True):
        images = images.to(device, non_blocking=True)
        if view:
            seed = hash_seed(config.seed, view, start)
            x = to_augmented_input(images, *look, config.augment, np.random.default_rng(seed))
        else:
            x = to_input(images, *look)  # (B, 3, S, S)
        with autocast(config, device.type):
            features = model.features(x.to(kept))  # (B, F)
        yield features.to("cpu", kept)


def _key(
    dataset: Dataset, rows: IntArray, config: Dinov2Config, device: torch.device, view: int
) -> dict[str, Any]:
    """Return everything that the features depend on."""
    key = {
        "backbone": config.backbone,
        "revision": config.revision,
        "image_size": config.image_size,
        "mean": config.mean,
        "std": config.std,
        "pool": config.pool,
        "precision": mixed_precision(config, device.type),
        "split_hash": dataset.split_hash,
        "rows": hashlib.sha256(np.asarray(rows, dtype=np.int64).tobytes()).hexdigest(),
        "view": view,
    }
    return key | ({"seed": config.seed, "augment": config.augment} if view else {})


def _header(dtype: torch.dtype, shape: tuple[int, int], metadata: dict[str, str]) -> bytes:
    """Return the header of a safetensors file with one tensor, whose rows are appended later."""
    size = shape[0] * shape[1] * dtype.itemsize
    entry = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": metadata, "features": entry}).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text
