"""Train the resnet the fastai way: DataLoaders, vision_learner, head first, then all layers.

Everything that is not fastai's own hangs on the learner's events: `fastai_callbacks`.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agecli.ages import IntArray, Scheme
from agecli.config import ResNetConfig
from agecli.data.batches import ROTATION, SCALE, Batches, resize
from agecli.data.store import Dataset, open_dataset
from agecli.errors import UsageError, WeightsError
from agecli.evaluation.plots import plot_rates
from agecli.models.hub import imagenet_state, read_state
from agecli.models.resnet import ResNet, body_state
from agecli.training.budget import within_memory
from agecli.training.engine import MovingAverage
from agecli.training.fastai_callbacks import (
    Averaging,
    Keeper,
    PlainRates,
    ScaledGradients,
    Scores,
    Steps,
    seed_all,
)
from agecli.training.objectives import Objective, make_objective
from agecli.training.observer import Observer
from agecli.training.results import Results
from agecli.training.runs import Run
from agecli.training.setup import (
    autocast_dtype,
    build_model,
    choose_device,
    describe_device,
    mixed_precision,
    rows_of,
)
from agecli.weights import Metadata

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch's, of what fastai compiles
    from fastai.vision.all import (
        DataLoaders,
        GradientAccumulation,
        L,
        Learner,
        Normalize,
        ProgressCallback,
        RandomErasing,
        TensorCategory,
        TensorImage,
        TfmdDL,
        Transform,
        aug_transforms,
        noop,
        params,
        vision_learner,
    )


def settle(config: ResNetConfig, *, announce: Callable[[str], None], dry: bool) -> ResNetConfig:
    """Make sure of the weights that the training starts from; dry: it will not."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("agecli train resnet runs in one process: start it without a launcher")
    if not dry and (state := _initial_state(config, announce)):
        _load_body(ResNet(outputs=1, arch=config.arch), state, config.init)
    return config


def train(
    config: ResNetConfig, run: Run, observer: Observer | None = None, *, score: bool = True
) -> Metadata:
    """Train a resnet, or continue its run, and return the metadata of its best weights.

    As `agecli.training.pytorch.train` does, and raises.
    """
    return within_memory(partial(_train, score=score), config, run, observer or Observer())


def _train(config: ResNetConfig, run: Run, observer: Observer, *, score: bool) -> Metadata:
    dataset = open_dataset(Path(config.data))
    scheme = Scheme.parse(dataset.receipt["scheme"])
    device = choose_device(config)
    seed_all(config.seed)
    model: Any = build_model(config, scheme).to(device)
    saved = run.load()
    if not saved and (state := _initial_state(config)):
        _load_body(model, state, config.init)
    objective = make_objective(config, scheme, dataset.ages[dataset.rows("train")]).to(device)
    rows = {split: rows_of(dataset, split, objective, config) for split in ("train", "val")}
    precision = mixed_precision(config, device.type)
    place = describe_device(device, precision)
    results = Results(
        run, config, dataset, device.type, place, len(rows["train"]), _describe_init(config)
    )
    learn = make_learner(config, model, make_loaders(config, dataset, rows, device), objective)
    if precision != "no":
        autocast = torch.autocast(device.type, autocast_dtype(precision))
        learn.model.forward = autocast(learn.model.forward)
        learn.add_cb(ScaledGradients(device.type, precision))
    average = MovingAverage(model, config.ema) if config.ema else None
    keeper = Keeper(config, model, average, run, results, observer, saved)
    scores = Scores(dataset, scheme, rows["val"], objective)
    steps = [Steps(config, observer, keeper), scores, keeper]
    if config.lr == 0 and saved:  # it ran out of memory under a budget, and goes on as it was
        config = replace(config, lr=saved["lr"])
        run.configure(config)
    elif config.lr == 0:
        config = _find_rate(config, learn, run, observer)
    keeper.config = config
    if config.accumulate > 1:  # counts images; a batch may have fewer than asked
        learn.add_cb(GradientAccumulation(learn.dls.train.bs * config.accumulate))
    learn.add_cbs([*([Averaging(model, average)] if average else []), *steps])
    run.log(f"training on {place}, {len(rows['train'])} images, rate {config.lr:g}")
    observer.started(
        results.facts(
            sum(p.numel() for p in model.parameters()), len(rows["val"]),
            config.frozen_epochs + config.epochs,
        ) | {"done": len(keeper.history)}
    )  # fmt: skip
    fit(config, learn, keeper)
    return results.finish(
        keeper.history, score=score, frozen_epochs=config.frozen_epochs, lr=config.lr
    )


def fit(config: ResNetConfig, learn: Learner, keeper: Keeper) -> None:
    """Train the head with the body frozen, then all layers, as fastai's fine_tune does.

    From scratch there is nothing to be careful with: one rate for all layers.
    """
    done, frozen = len(keeper.history), config.frozen_epochs
    if done < frozen:
        learn.freeze()
        keeper.restore(phase_begun=done > 0)
        learn.fit_one_cycle(frozen, slice(config.lr), pct_start=0.99, start_epoch=done)
        done = frozen
    if keeper.failure:
        raise keeper.failure
    if not keeper.is_over():
        learn.unfreeze()
        keeper.restore(phase_begun=done > frozen)
        epoch = done - frozen
        if config.init == "none":
            learn.fit_one_cycle(config.epochs, config.lr, start_epoch=epoch)
        else:
            rates = slice(config.lr / 2 / config.rate_ratio, config.lr / 2)
            learn.fit_one_cycle(config.epochs, rates, pct_start=0.3, div=5.0, start_epoch=epoch)
    if keeper.failure:
        raise keeper.failure


def make_loaders(
    config: ResNetConfig, dataset: Dataset, rows: dict[str, IntArray], device: torch.device
) -> DataLoaders:
    """Build fastai's DataLoaders over the store; images are augmented in batches on the device."""
    # The colours stay as they are in "light", as with the other models.
    strong = config.augment == "strong"
    augment = aug_transforms(
        max_rotate=ROTATION, min_zoom=1 / SCALE, max_zoom=SCALE, max_warp=0.0, pad_mode="border",
        max_lighting=0.3 if strong else 0.0, p_lighting=0.9, p_affine=0.9,
    )  # fmt: skip
    normalise = Normalize.from_stats(config.mean, config.std, cuda=device.type == "cuda")
    loaders = []
    for split, shuffle in (("train", True), ("val", False)):
        transforms = [FromStore(config.image_size), normalise]
        if shuffle:
            transforms += [*augment, *([RandomErasing(p=0.5, sh=0.2)] if strong else [])]
        batches = Batches(
            dataset.images, rows[split], batch_size=config.batch_size, shuffle=shuffle,
            seed=config.seed, accumulate=config.accumulate if shuffle else 1,
            workers=config.workers,
        )  # fmt: skip
        loaders.append(StoreLoader(batches, dataset.ages, transforms, device))
    return DataLoaders(*loaders, device=device)


class StoreLoader(TfmdDL):
    """fastai's loader over the store's batches, which threads gather ahead."""

    def __init__(
        self, batches: Batches, ages: IntArray, transforms: list[Transform], device: torch.device
    ) -> None:
        self.batches, self.ages, self.epoch = batches, ages, 0
        self._n_inp = 1  # or fastai would run a batch to find out
        super().__init__(
            batches.rows, bs=batches.batch_size, after_batch=transforms, num_workers=0,
            device=device,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.batches)

    def before_iter(self) -> None:
        """Say which split this is, which fastai asks a dataset: only split 0 is augmented."""
        super().before_iter()
        self.after_batch.split_idx = 0 if self.batches.shuffle else 1

    def create_batches(self, samps: Any) -> Iterator[tuple[TensorImage, TensorCategory]]:
        """Yield (images, ages): uint8 (B, 3, S, S) and years (B,)."""
        for images, rows in self.batches.epoch(self.epoch):
            yield (
                TensorImage(images.permute(0, 3, 1, 2)),
                TensorCategory(torch.from_numpy(self.ages[rows])),
            )


class FromStore(Transform):
    """Resize stored images exactly as for every other model, and scale them to 0 to 1."""

    order = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def encodes(self, batch: TensorImage) -> TensorImage:
        """Map uint8 (B, 3, S, S) to float (B, 3, size, size)."""
        images = batch.as_subclass(Tensor).permute(0, 2, 3, 1)  # (B, S, S, 3), as stored
        return TensorImage(resize(images, self.size).div_(255))


def make_learner(
    config: ResNetConfig, model: ResNet, loaders: DataLoaders, objective: Objective
) -> Learner:
    """Build fastai's vision_learner around our body and head, so that `model` trains with it."""
    learn = vision_learner(
        loaders,
        # vision_learner cuts a network off in front of its last pooling: the body is what remains.
        lambda pretrained: nn.Sequential(model.body, nn.AdaptiveAvgPool2d(1)),
        n_out=model.head[-1].out_features,
        normalize=False,
        pretrained=config.init != "none",
        custom_head=model.head,
        splitter=_split,
        loss_func=objective,
        opt_func=partial(PlainRates, opt=torch.optim.AdamW, fused=True),
        wd=config.weight_decay,
    )
    learn.remove_cb(ProgressCallback)  # our display hears of the progress by a callback
    learn.logger = noop
    return learn


def _split(network: Any) -> L:
    """Split a learner's network for its rates, as fastai does: early stages, late ones, head."""
    body = network[0][0]
    stem = [body.conv1, body.bn1, body.layer1, body.layer2]
    return L(nn.ModuleList(stem), nn.ModuleList([body.layer3, body.layer4]), network[1]).map(params)


def _find_rate(config: ResNetConfig, learn: Learner, run: Run, observer: Observer) -> ResNetConfig:
    """Have fastai's lr_find choose the rate; keep its plot, and the rate in the run's config."""
    with tempfile.TemporaryDirectory() as folder:  # where it saves the model while it tries
        learn.path, learn.model_dir = Path(folder), "."
        rate = learn.lr_find(show_plot=False).valley
    plot_rates(run.folder / "lr_find.png", learn.recorder.lrs, learn.recorder.losses, rate)
    config = replace(config, lr=float(rate))
    run.configure(config)
    observer.warned(f"--lr auto: {rate:.1e}, plot in {run.folder / 'lr_find.png'}")
    return config


def _initial_state(
    config: ResNetConfig, announce: Callable[[str], None] = lambda text: None
) -> dict[str, Tensor] | None:
    if config.init == "none":
        return None
    if config.init == "imagenet":
        return imagenet_state(config.arch, announce)
    return read_state(Path(config.init))


def _load_body(model: ResNet, state: dict[str, Tensor], init: str) -> None:
    try:
        model.body.load_state_dict(body_state(state))
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1].split())
        raise WeightsError(
            f"--init: {init} does not fit this --arch ({reason[:100]}): give another of the two"
        ) from error


def _describe_init(config: ResNetConfig) -> str:
    return {"none": "random", "imagenet": f"ImageNet, torchvision's {config.arch}"}.get(
        config.init, Path(config.init).name
    )
