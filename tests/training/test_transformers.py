"""Trainings of the dinov2 on drawn faces, in its three ways."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agecli.config import Dinov2Config
from agecli.errors import UsageError, WeightsError
from agecli.exporting.export import export
from agecli.inference.predictor import Predictor
from agecli.training.build import FINE_TUNING, build_model, build_optimizer
from agecli.training.observer import Observer
from agecli.training.records import Epoch
from agecli.training.runs import Run
from agecli.training.transformers import settle, train
from agecli.weights import FINGERPRINTS, load_weights, read_metadata
from tests.models.backbones import BLOCKS, count_images, save_backbone
from tests.training.test_loop import knows_its_images


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def base(backbone: Path, dataset_folder: Path) -> Dinov2Config:
    config = Dinov2Config(
        backbone=str(backbone), data=str(dataset_folder), epochs=3, batch_size=16, device="cpu"
    )
    return settle(config, announce=print, dry=False)


@pytest.fixture(scope="module")
def head_run(base: Dinov2Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("runs") / "head", base)
    train(base, run)
    return run


def history(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_the_weights_file_holds_the_head_and_names_its_backbone(head_run: Run, backbone: Path):
    from safetensors.torch import load_file

    metadata = read_metadata(head_run.best)
    assert metadata.backbone["id"] == str(backbone)
    assert metadata.backbone["revision"].startswith("sha256:")
    names = load_file(head_run.best).keys() - {FINGERPRINTS}
    assert all(name.startswith("head.") for name in names)
    assert metadata.image_size == 28 and metadata.mean == [0.5, 0.4, 0.3]
    assert metadata.metrics["n"] > 0
    assert len(metadata.training["sweep"]) == 8
    best = min(s["val_loss"] for s in metadata.training["sweep"])
    assert metadata.training["validation"]["val_loss"] == best


def test_the_weights_file_knows_what_was_seen(head_run: Run, dataset_folder: Path):
    knows_its_images(head_run, dataset_folder)


def test_the_temperature_is_that_of_the_whole_model(head_run: Run, dataset_folder: Path):
    from agecli.data.store import open_dataset
    from agecli.evaluation.calibration import fit_temperature
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    model = Predictor([head_run.best]).models[0]
    kept = model.metadata.temperature
    model.metadata = replace(model.metadata, temperature=1.0)
    result = evaluate_model(model, open_dataset(dataset_folder), "val")
    expected = fit_temperature(model.interpret(result.distribution), result.ages)
    assert kept == pytest.approx(expected, rel=1e-3)
    assert kept != 1


def test_images_pass_the_backbone_once(monkeypatch, base, dataset_folder, tmp_path):
    """Features of train and validation; then test, and validation in other views, to calibrate."""
    from agecli.data.store import open_dataset
    from agecli.evaluation.perturbations import CALIBRATION_VIEWS

    seen = count_images(monkeypatch)
    config = replace(base, seed=3, mean=(0.4, 0.4, 0.4), epochs=4)  # no run has cached these
    train(config, Run.create(tmp_path / "run", config))
    dataset = open_dataset(dataset_folder)
    everything = sum(len(dataset.rows(split)) for split in ("train", "val", "test"))
    assert sum(seen) == everything + len(CALIBRATION_VIEWS) * len(dataset.rows("val"))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_other_poolings_share_the_cached_features(
    head_run: Run, base: Dinov2Config, pool, tmp_path: Path, monkeypatch, dataset_folder: Path
):
    from agecli.data.store import open_dataset
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    with monkeypatch.context() as patched:
        seen = count_images(patched)
        run = Run.create(tmp_path / "run", replace(base, pool=pool, hidden=6))
        metadata = train(replace(base, pool=pool, hidden=6), run, score=False)
        assert not seen
    # The whole model, through the predictor, answers as its head did on the features.
    model = Predictor([run.best]).models[0]
    exact = evaluate_model(model, open_dataset(dataset_folder), "val").scores.exact
    assert exact == metadata.training["validation"]["val_exact"]


def test_a_changed_backbone_is_refused(head_run: Run, backbone: Path, tmp_path: Path):
    import shutil

    from safetensors.torch import load_file, save_file

    weights = backbone / "model.safetensors"
    shutil.copy(weights, tmp_path / "kept")
    state = load_file(weights)
    state["layernorm.bias"] = state["layernorm.bias"] + 1
    try:
        save_file(state, weights, {"format": "pt"})
        with pytest.raises(WeightsError, match="other weights"):
            load_weights(head_run.best)
    finally:
        shutil.copy(tmp_path / "kept", weights)
    load_weights(head_run.best)


def test_an_exported_file_stands_alone_and_predicts_alike(
    head_run: Run, dataset_folder: Path, tmp_path: Path
):
    import numpy as np

    from agecli.data.store import open_dataset

    images = np.array(open_dataset(dataset_folder).images[:6])
    export(head_run.best, tmp_path / "whole.safetensors", with_backbone=True)
    assert read_metadata(tmp_path / "whole.safetensors").backbone is None
    answers = [
        Predictor([path]).models[0].distributions(images)
        for path in (head_run.best, tmp_path / "whole.safetensors")
    ]
    assert np.allclose(*answers, atol=2e-3)  # 16-bit weights
    with pytest.raises(UsageError, match="already contains"):
        export(tmp_path / "whole.safetensors", tmp_path / "again.safetensors", with_backbone=True)
    with pytest.raises(UsageError, match="exists"):
        export(head_run.best, tmp_path / "whole.safetensors")


class Stop(Observer):
    def __init__(self, after: int) -> None:
        self.left = after

    def finished_epoch(self, epoch: Epoch) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("unfreeze", "after"), [(0, 2), (1, 2), (1, 4)])
def test_resuming_repeats_the_uninterrupted_run(base, tmp_path, unfreeze: int, after: int):
    from safetensors.torch import load_file

    config = replace(base, unfreeze=unfreeze)
    runs = [Run.create(tmp_path / name, config) for name in ("whole", "parts")]
    train(config, runs[0])
    with pytest.raises(KeyboardInterrupt):
        train(config, runs[1], Stop(after))
    train(config, runs[1])
    measured = ("seconds", "images_per_second")
    told = [[{k: v for k, v in r.items() if k not in measured} for r in history(x)] for x in runs]
    assert told[0] == told[1]
    whole, parts = (load_file(run.best) for run in runs)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_unfreezing_trains_the_last_blocks_from_the_best_head(base, tmp_path):
    config = replace(base, unfreeze=1, ema=0.0, epochs=2)
    run = Run.create(tmp_path / "run", config)
    metadata = train(config, run)
    assert metadata.backbone is None and metadata.metrics["n"] > 0
    assert read_metadata(run.folder / "head/best.safetensors").metrics == {}  # test is read once
    assert metadata.training["init"] == f"{Path(config.backbone).name} at {config.revision}"
    before, after = (
        load_weights(path)[0] for path in (run.folder / "head/best.safetensors", run.best)
    )
    changed = [
        any(
            not torch.allclose(a, b, rtol=2e-3, atol=2e-3)
            for a, b in zip(x.parameters(), y.parameters(), strict=True)
        )
        for x, y in zip(before.backbone.encoder.layer, after.backbone.encoder.layer, strict=True)
    ]
    assert changed[:-1] == [False] * (BLOCKS - 1)
    assert not torch.equal(before.head.linear.weight, after.head.linear.weight)


def test_rates_fall_from_the_head_down_and_vectors_do_not_decay(base):
    from agecli.ages import Scheme

    config = replace(base, unfreeze=BLOCKS, layer_decay=0.5)
    model = build_model(config, Scheme.parse("adience8"))
    optimizer = build_optimizer(config, model)
    rate = {
        id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    }
    top, bottom = model.backbone.encoder.layer[-1], model.backbone.encoder.layer[0]
    assert rate[id(model.head.linear.weight)] == (config.lr, config.weight_decay)
    assert rate[id(model.head.linear.bias)] == (config.lr, 0.0)
    assert rate[id(top.mlp.fc1.weight)] == (config.lr * FINE_TUNING, config.weight_decay)
    expected = config.lr * FINE_TUNING * 0.5 ** (BLOCKS - 1)
    assert rate[id(bottom.mlp.fc1.weight)][0] == pytest.approx(expected)
    assert id(model.backbone.embeddings.cls_token) not in rate  # frozen


def test_a_frozen_backbone_is_not_budgeted_as_if_it_were_trained(base):
    """Weights once, and for the head alone gradients and Adam's moments."""
    from agecli.ages import Scheme
    from agecli.training.memory_plan.footprint import measure

    scheme = Scheme.parse("adience8")
    frozen = measure(base, scheme, "cpu")
    whole = measure(replace(base, unfreeze=BLOCKS), scheme, "cpu")
    head = sum(p.nbytes for p in build_model(base, scheme).head.parameters())
    assert (frozen.gradients, frozen.average) == (head, 0)
    assert frozen.optimizer < 2.1 * head
    assert whole.gradients > frozen.gradients and whole.average > 0
