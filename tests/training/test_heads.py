"""Heads on cached features against the loop that runs the backbone every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agecli.ages import YEARS
from agecli.config import Dinov2Config
from agecli.data.batches import to_input
from agecli.data.store import open_dataset
from agecli.models.dinov2 import Dinov2, backbone_state, describe_backbone
from agecli.training.features import cache_features, read_features
from agecli.training.heads import DECAYS, RATES, Features, Sweep, standardisation
from agecli.training.objectives import make_objective
from agecli.training.observer import Observer
from agecli.training.runs import Run
from agecli.training.session import Session
from agecli.training.transformers import settle
from tests.models.backbones import save_backbone

CPU = torch.device("cpu")


def test_standardisation_is_that_of_numpy():
    features = torch.randn(5000, 7) * torch.arange(1, 8) + 3
    mean, scale = standardisation(features)
    assert np.allclose(mean, features.double().mean(0))
    assert np.allclose(1 / scale, features.double().std(0, unbiased=False))


def test_a_constant_feature_stays_finite():
    features = torch.randn(100, 3)
    features[:, 1] = 2.0
    mean, scale = standardisation(features)
    assert torch.isfinite(scale).all()
    assert ((features - mean) * scale)[:, 1].abs().max() < 1e-6


@pytest.fixture
def parts(dataset_folder: Path, tmp_path: Path):
    """Return all that a sweep needs, in double precision and without dropout."""
    folder = save_backbone(tmp_path / "backbone")
    config = Dinov2Config(backbone=str(folder), data=str(dataset_folder), dropout=0.0)
    config = settle(config, announce=print, dry=False)
    dataset = replace(open_dataset(dataset_folder), folder=tmp_path)
    model = Dinov2(outputs=YEARS, backbone=describe_backbone(str(folder), "", 0, 0.0), dropout=0.0)
    model.load_state_dict(model.state_dict() | backbone_state(str(folder), ""))
    model = model.double()
    model.train_last(0)
    scheme = dataset.scheme
    objective = make_objective(config, scheme, dataset.ages).double()
    rows = {split: dataset.rows(split) for split in ("train", "val")}
    features = {
        split: Features(
            [read_features(cache_features(model, dataset, rows[split], config, CPU))], rows[split]
        )
        for split in rows
    }
    session = Session(config, Run(tmp_path / "run"), Observer(), dataset, CPU, objective, rows)
    sweep = Sweep(session, config, YEARS, features["train"], features["val"])
    return config, dataset, model, objective, sweep


def test_gradients_are_those_of_the_full_loop(parts):
    config, dataset, model, objective, sweep = parts
    places = np.array([0, 3, 4, 9, 17, 30])
    sweep.loss(places, np.zeros(6, dtype=int)).backward()
    rows = sweep.train.rows[places]
    x = to_input(torch.from_numpy(dataset.images[rows]), 28, config.mean, config.std).double()
    ages = torch.from_numpy(dataset.ages[rows])
    for head in sweep.heads:
        model.head.load_state_dict(head.state_dict())
        model.zero_grad()
        objective(model(x), ages).backward()
        for ours, theirs in zip(head.parameters(), model.head.parameters(), strict=True):
            assert theirs.grad.abs().max() > 1e-4
            assert (ours.grad - theirs.grad).abs().max() < 1e-9
        assert all(p.grad is None for p in model.backbone.parameters())


def test_a_head_in_the_sweep_is_trained_as_if_alone(parts):
    _, dataset, _, objective, sweep = parts
    index = 5
    alone = torch.nn.Linear(sweep.train.views[0].shape[1], YEARS).double()
    alone.load_state_dict(sweep.heads[index].linear.state_dict())
    setting = sweep.settings[index]
    optimizer = torch.optim.AdamW(
        alone.parameters(), lr=setting.lr, weight_decay=setting.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, setting.lr, total_steps=30 * sweep.steps + 1, cycle_momentum=False
    )
    head = sweep.heads[index]
    sweep.heads.train()
    objective.train()
    for step in range(3):
        places = np.arange(step, 60, 3)
        sweep.loss(places, np.zeros(len(places), dtype=int)).backward()
        sweep.optimizer.step()
        sweep.optimizer.zero_grad()
        sweep.schedule.step()
        x = (sweep.train.views[0][places] - head.mean) * head.scale
        objective(alone(x), torch.from_numpy(dataset.ages[sweep.train.rows[places]])).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    assert torch.allclose(head.linear.weight, alone.weight, atol=1e-9)


def test_the_sweep_is_a_grid_around_the_settings(parts):
    config, *_, sweep = parts
    assert len(sweep.settings) == len(RATES) * len(DECAYS) == 8
    assert {s.lr for s in sweep.settings} == {config.lr * rate for rate in RATES}
    assert {s.weight_decay for s in sweep.settings} == {
        config.weight_decay * decay for decay in DECAYS
    }


def test_views_are_read_each_from_its_own_features(parts):
    *_, sweep = parts
    plain = sweep.train.views[0]
    sweep.train.views.append(plain + 100)
    seen = []
    sweep.heads[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    sweep.loss(np.array([2, 5, 7]), np.array([0, 1, 0]))
    expected = torch.stack([plain[2], plain[5] + 100, plain[7]])
    assert torch.equal(seen[0], expected)
