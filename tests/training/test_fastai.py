"""The fastai training on drawn faces: its phases, loaders, rates, resumption and searches."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from agecli.ages import Scheme
from agecli.config import IMAGENET_MEAN, IMAGENET_STD, ResNetConfig
from agecli.data.batches import to_input
from agecli.data.store import Dataset, open_dataset
from agecli.errors import TrainingError, UsageError, WeightsError
from agecli.models.dlib import read_body
from agecli.models.resnet import ARCHS, BasicBlock, Body
from agecli.training import fastai, fastai_callbacks
from agecli.training.build import build_model
from agecli.training.fastai import settle, train
from agecli.training.fastai_loaders import make_loaders
from agecli.training.observer import Observer
from agecli.training.records import Epoch, Started, Step, Validation
from agecli.training.runs import Run
from agecli.training.session import Session
from agecli.weights import read_fingerprints, read_metadata, read_tensors, save_weights
from tests.launching import pretend
from tests.models.dlib_file import random_layers, write_dlib
from tests.training.test_loop import knows_its_images

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of fastai
TIMES = ("seconds", "images_per_second")


def small(dataset: Path, **settings) -> ResNetConfig:
    defaults = dict(
        arch="resnet18", init="none", image_size=32, batch_size=16, limit=32, epochs=1,
        freeze_epochs=0, lr=2e-3, ema=0.9, device="cpu",
    )  # fmt: skip
    return ResNetConfig(data=str(dataset), **(defaults | settings))


def run_training(config: ResNetConfig, folder: Path, observer: Observer | None = None) -> Run:
    run = Run.create(folder, config)
    train(config, run, observer)
    return run


def history(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def assert_same_results(first: Run, second: Run) -> None:
    """Check that two runs ended with the same bits and figures."""
    assert same(load_file(first.best), load_file(second.best))
    for part in ("model", "average"):
        one, other = (run.load()[part] for run in (first, second))
        one, other = (s["model"] if part == "average" else s for s in (one, other))
        assert same(one, other), part
    records = [[{k: v for k, v in record.items() if k not in TIMES} for record in history(run)]
               for run in (first, second)]  # fmt: skip
    assert records[0] == records[1]


class Snapshots(Observer):
    """Keeps the state after each epoch, and what was said; stops after an epoch where asked."""

    def __init__(self, run: Run, stop_after: int | None = None) -> None:
        self.run, self.stop_after = run, stop_after
        self.states: list[dict] = []
        self.warnings: list[str] = []
        self.trainings: list[Started] = []

    def started(self, training: Started) -> None:
        self.trainings.append(training)

    def finished_epoch(self, epoch: Epoch) -> None:
        self.states.append(self.run.load())
        if epoch.epoch == self.stop_after:
            raise KeyboardInterrupt

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def watch(config: ResNetConfig, folder: Path) -> tuple[Run, Snapshots]:
    run = Run.create(folder, config)
    snapshots = Snapshots(run)
    train(config, run, snapshots)
    return run, snapshots


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """Reduce resnet18 to one block per stage: half the weights, and half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, "resnet18", (BasicBlock, 64, ((1,), (2,), (2,), (2,))))
        yield


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random body in the form of torchvision; its older files had no counts of batches."""
    from torchvision.models import resnet

    torch.manual_seed(3)
    state = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1]).state_dict()
    path = tmp_path_factory.mktemp("init") / "resnet18.pth"
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    return path


# Phases and files


def test_a_run_trains_its_head_then_all_layers(
    dataset_folder: Path, tmp_path: Path, pretrained: Path
):
    from agecli.weights import read_metadata

    config = small(dataset_folder, init=str(pretrained), freeze_epochs=2, epochs=1)
    run, snapshots = watch(config, tmp_path / "run")
    names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*")}
    assert names == {
        "best.safetensors", "config.json", "last", "last/state.pt", "log.txt", "metrics.jsonl"
    }  # fmt: skip
    records = history(run)
    assert [record["phase"] for record in records] == ["head", "head", "all"]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert snapshots.trainings[0].epochs == 3
    given = torch.load(pretrained)
    first, second, third = (state["model"] for state in snapshots.states)
    convolutions = [n for n, t in first.items() if n.startswith("body.") and t.ndim == 4]
    assert len(convolutions) == 12
    for name in convolutions:
        assert torch.equal(first[name], given[name.removeprefix("body.")])
        assert torch.equal(second[name], first[name])
        assert not torch.equal(third[name], first[name])
    for name in ("head.4.weight", "head.8.weight"):
        assert not torch.equal(second[name], first[name])
        assert not torch.equal(third[name], second[name])
    metadata = read_metadata(run.best)
    receipt = json.loads((dataset_folder / "receipt.json").read_text())
    assert metadata.split_hash == receipt["split_hash"]
    assert metadata.architecture == {"arch": "resnet18", "dropout": 0.5, "outputs": 101}
    assert metadata.metrics["n"] > 0
    assert metadata.training["init"] == "resnet18.pth"
    best = min(records, key=lambda record: record["val_loss"])
    assert metadata.training["best_epoch"] == best["epoch"]


def validation_loss(run: Run, state: dict[str, torch.Tensor]) -> float:
    """Return the loss, without weights, of a state on the validation images."""
    from agecli.training.objectives import make_objective

    _, config = Run.open(run.folder)
    dataset, scheme = open_dataset(Path(config.data)), Scheme.parse("adience8")
    model = build_model(config, scheme).eval()
    model.load_state_dict(state)
    rows = dataset.rows("val")
    objective = make_objective(config, scheme, dataset.ages).eval()
    with torch.no_grad():
        logits = model(stored(dataset, rows, config.image_size))
        return objective(logits, torch.from_numpy(dataset.ages[rows])).item()


def test_what_validates_is_the_moving_average_in_eval_mode(dataset_folder: Path, tmp_path: Path):
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    run = run_training(small(dataset_folder, epochs=2, limit=0, lr=2e-3), tmp_path / "run")
    kept = run.load()
    best = history(run)[-1]
    assert best["best"]  # the last one, for the comparisons below
    average, weights = kept["average"]["model"], read_tensors(run.best)
    assert not same(average, kept["model"])
    assert best["val_loss"] == pytest.approx(validation_loss(run, average), rel=1e-4)
    assert best["val_loss"] != pytest.approx(validation_loss(run, kept["model"]), rel=1e-3)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor.float(), average[name].float(), rtol=1e-3, atol=1e-3)
    model = Predictor([run.best], device="cpu").models[0]
    dataset = open_dataset(dataset_folder)
    calibrated = model.metadata
    model.metadata = replace(calibrated, temperature=1.0)  # validation knows no other, and no flip
    plain = evaluate_model(model, dataset, "val", flip=False).scores.mae
    assert plain == pytest.approx(best["val_mae"], rel=0.01)
    model.metadata = calibrated
    result = evaluate_model(model, dataset, "test")
    scores = result.metrics()
    assert model.metadata.metrics == json.loads(json.dumps(scores))


# Loaders


def loaders_of(dataset: Dataset, config: ResNetConfig):
    session = Session.open(config, Run(Path("unused")), Observer())
    rows = {split: dataset.rows(split) for split in ("train", "val")}
    return make_loaders(replace(session, dataset=dataset, rows=rows))


def stored(dataset: Dataset, rows: np.ndarray, size: int) -> torch.Tensor:
    images = torch.from_numpy(np.asarray(dataset.images)[rows])
    return to_input(images, size, IMAGENET_MEAN, IMAGENET_STD)


def first_batch(loaders, epoch: int = 0, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    loaders.train.epoch = epoch
    return next(iter(loaders.train))[0].as_subclass(torch.Tensor)


@pytest.mark.parametrize("size", [32, 48])
def test_validation_sees_what_every_model_sees(dataset_folder: Path, size: int):
    dataset = open_dataset(dataset_folder)
    loaders = loaders_of(dataset, small(dataset_folder, image_size=size))
    images, ages = (torch.cat([b.as_subclass(torch.Tensor) for b in part])
                    for part in zip(*loaders.valid, strict=True))  # fmt: skip
    rows = dataset.rows("val")
    assert ages.tolist() == dataset.ages[rows].tolist()
    expected = stored(dataset, rows, size)
    assert images.shape == expected.shape
    assert torch.equal(images, expected)


def test_training_images_are_augmented_by_the_seed(dataset_folder: Path):
    dataset = open_dataset(dataset_folder)
    loaders = loaders_of(dataset, small(dataset_folder))
    batch = first_batch(loaders)
    batches = loaders.train.batches
    rows = next(batches.epoch(0))[1]
    plain = stored(dataset, rows, 32)
    changed = (batch - plain).abs().amax(dim=(1, 2, 3)) > 0.1
    assert changed.float().mean() > 0.8  # each image its own way, and a few are left alone
    assert torch.equal(batch, first_batch(loaders))
    assert not torch.equal(batch, first_batch(loaders, seed=1))
    assert not torch.equal(batch, first_batch(loaders, epoch=1))


@pytest.mark.parametrize("augment", ["none", "light", "wild"])
def test_only_wild_augmentation_changes_colours(dataset_folder: Path, augment: str):
    dataset = open_dataset(dataset_folder)
    grey = np.broadcast_to(np.uint8([90, 120, 150]), dataset.images.shape)
    dataset = replace(dataset, images=grey)  # moving one of these changes nothing
    batch = first_batch(loaders_of(dataset, small(dataset_folder, augment=augment)))
    difference = (batch - stored(dataset, np.arange(len(batch)), 32)).abs().amax()
    assert (difference > 0.1) == (augment == "wild")
    assert augment == "wild" or difference < 1e-3


# Resumption


@pytest.fixture(scope="module")
def whole(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Run:
    """Return a run of two phases, two epochs each, that nothing interrupted."""
    config = small(dataset_folder, init=str(pretrained), freeze_epochs=2, epochs=2)
    return run_training(config, tmp_path_factory.mktemp("whole") / "run")


def test_a_weights_file_knows_what_was_seen_unless_another_make_came_before(
    dataset_folder: Path, whole: Run, tmp_path: Path
):
    knows_its_images(run_training(small(dataset_folder, limit=0), tmp_path / "run"), dataset_folder)
    assert read_fingerprints(whole.best) is None


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_a_resumed_training_ends_with_the_same_bits(whole: Run, tmp_path: Path, stop_after: int):
    _, config = Run.open(whole.folder)
    run = Run.create(tmp_path / "cut", config)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Snapshots(run, stop_after))
    assert len(history(run)) == stop_after
    run, config = Run.open(run.folder)
    train(config, run)
    assert [record["phase"] for record in history(run)] == ["head", "head", "all", "all"]
    assert_same_results(whole, run)


def test_resuming_keeps_accumulation_and_a_cut_in_the_middle_of_an_epoch(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = small(dataset_folder, batch_size=8, accumulate=2, epochs=2, ema=0)
    expected = run_training(config, tmp_path / "whole").load()["model"]
    calls = []
    monkeypatch.setattr(fastai_callbacks, "REPORT_SECONDS", 0)

    class Cut(Observer):
        def stepped(self, step: Step) -> None:
            calls.append(step)
            if (step.epoch, step.step) == (2, 3):
                raise KeyboardInterrupt

    run = Run.create(tmp_path / "cut", config)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Cut())
    assert [step.steps for step in calls] == [4] * 7
    train(config, run)
    assert same(run.load()["model"], expected)


# Rates and optimiser steps


def rates(state: dict) -> list[float]:
    return [group["lr"] for group in state["optimizer"]["param_groups"]]


def test_a_given_bodys_rates_rise_towards_the_head(whole: Run):
    early, late, head = rates(whole.load())
    assert late / early == pytest.approx(10)
    assert head / late == pytest.approx(10)


def test_phases_and_rates_are_those_of_fastais_fine_tune():
    from types import SimpleNamespace

    from fastai.learner import Learner

    from agecli.training.fastai import fit

    class Recorder(list):
        """A learner that notes what it is asked to do."""

        def freeze(self) -> None:
            self.append("freeze")

        def unfreeze(self) -> None:
            self.append("unfreeze")

        def fit_one_cycle(self, epochs: int, rate: slice, start_epoch: int = 0, **how) -> None:
            self.append((epochs, rate, how))

    ours, theirs, done = Recorder(), Recorder(), lambda *_, **__: None
    keeper = SimpleNamespace(history=[], failure=None, is_over=done, restore=done)
    fit(ResNetConfig(lr=4e-3, freeze_epochs=2, epochs=5, rate_ratio=50), ours, keeper)
    Learner.fine_tune(theirs, 5, 4e-3, freeze_epochs=2, lr_mult=50)
    assert ours == theirs


def test_from_scratch_all_layers_have_one_rate(dataset_folder: Path, tmp_path: Path):
    run, snapshots = watch(small(dataset_folder), tmp_path / "run")
    assert len(set(rates(snapshots.states[0]))) == 1
    assert history(run)[0]["phase"] == "all"


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"batch_size": 16}, 2),
        ({"batch_size": 8, "accumulate": 2}, 2),
        ({"batch_size": 8, "accumulate": 4}, 1),
        ({"batch_size": 64, "accumulate": 2}, 1),  # batches of all 32 images there are
    ],
    ids=str,
)
def test_accumulation_counts_batches(
    dataset_folder: Path, tmp_path: Path, settings: dict, steps: int
):
    run = run_training(small(dataset_folder, **settings), tmp_path / "run")
    assert run.load()["average"]["steps"] == steps
    states = run.load()["optimizer"]["state"].values()
    assert {int(state["step"]) for state in states} == {steps}


# Where the weights come from


def test_our_own_weights_file_gives_its_body(whole: Run, dataset_folder: Path, tmp_path: Path):
    config = small(dataset_folder, init=str(whole.best), freeze_epochs=1)
    _, snapshots = watch(config, tmp_path / "run")
    given, first = load_file(whole.best), snapshots.states[0]["model"]
    convolutions = [n for n, t in first.items() if n.startswith("body.") and t.ndim == 4]
    assert all(torch.equal(first[name], given[name].float()) for name in convolutions)
    assert not torch.equal(first["head.8.weight"], given["head.8.weight"].float())


def test_a_run_of_ours_is_continued_and_recorded_in_the_file(
    whole: Run, dataset_folder: Path, tmp_path: Path
):
    config = small(dataset_folder, init=str(whole.folder), freeze_epochs=0, rate_ratio=1.0)
    trained = read_metadata(run_training(config, tmp_path / "run").best).training
    assert trained["before"]["config"] == read_metadata(whole.best).training["config"]


def test_our_own_weights_of_another_split_are_refused(
    whole: Run, dataset_folder: Path, tmp_path: Path
):
    other = tmp_path / "other.safetensors"
    save_weights(
        other, load_file(whole.best), replace(read_metadata(whole.best), split_hash="0" * 64)
    )
    with pytest.raises(UsageError, match=r"--init: .*another split"):
        settle(small(dataset_folder, init=str(other)), announce=print, dry=False)


@pytest.mark.parametrize("own", [False, True])
def test_a_body_of_another_arch_is_one_line_before_anything_is_made(
    dataset_folder: Path, pretrained: Path, whole: Run, own: bool
):
    config = small(dataset_folder, arch="resnet34", init=str(whole.best if own else pretrained))
    with pytest.raises(WeightsError) as caught:
        settle(config, announce=print, dry=False)
    text = str(caught.value)
    assert "--init" in text and "--arch" in text and config.init in text
    assert "\n" not in text and len(text) < 400


def test_a_fitting_body_settles_and_a_dry_run_needs_none(dataset_folder: Path, pretrained: Path):
    config = small(dataset_folder, init=str(pretrained))
    assert settle(config, announce=print, dry=False) == config
    config = replace(config, init="nowhere.pth")
    assert settle(config, announce=print, dry=True) == config


def test_the_search_for_a_rate_refuses_a_launcher(dataset_folder: Path, monkeypatch):
    pretend(monkeypatch, 2)
    with pytest.raises(UsageError, match="--lr auto needs a single process"):
        settle(small(dataset_folder, lr=0), announce=print, dry=True)


# The search for a rate


def test_a_found_rate_is_kept_and_the_search_leaves_no_other_trace(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from fastai.learner import Learner

    search = Learner.lr_find
    monkeypatch.setattr(Learner, "lr_find", lambda *a, **k: search(*a, **k, num_it=30))
    config = small(dataset_folder, lr=0, freeze_epochs=1)
    run, snapshots = watch(config, tmp_path / "auto")
    names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*")}
    assert names == {
        "best.safetensors", "config.json", "last", "last/state.pt", "lr_find.png", "log.txt",
        "metrics.jsonl",
    }  # fmt: skip
    with Image.open(run.folder / "lr_find.png") as image:
        image.load()
        assert image.format == "PNG"
    _, found = Run.open(run.folder)
    assert 1e-7 < found.lr < 10
    assert replace(found, lr=0) == config
    assert f"{found.lr:.1e}" in snapshots.warnings[0]
    assert_same_results(run, run_training(found, tmp_path / "given"))


def test_a_found_rate_outlives_running_out_of_memory(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    searches, sizes, forward = [], [], Body.forward

    def search(config, learn, run, observer):
        searches.append(config)
        return 1e-3

    def limited(self: Body, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if self.training and len(x) > 8 and len(sizes) > 5:  # in the second epoch
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, x)

    monkeypatch.setattr(fastai, "_find_rate", search)

    monkeypatch.setattr(Body, "forward", limited)
    config = small(dataset_folder, lr=0, epochs=2, vram_budget="4GB")
    run = run_training(config, tmp_path / "run")
    _, kept = Run.open(run.folder)
    assert (kept.batch_size, kept.accumulate, kept.lr) == (8, 2, 1e-3)
    assert len(history(run)) == 2
    assert len(searches) == 1


# Stopping


def script_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Make the epochs' validation return these losses."""
    given = iter(losses)
    monkeypatch.setattr(Session, "validate_all", lambda *_: Validation(next(given)))


def test_training_stops_when_validation_no_longer_improves(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script_losses(monkeypatch, [5.0, 3.0, 3.5, 3.0, 2.0, 1.0])
    config = small(dataset_folder, epochs=6, patience=2, limit=16)
    run, snapshots = watch(config, tmp_path / "run")
    assert [record["best"] for record in history(run)] == [True, True, False, False]
    best = load_file(run.best)["body.conv1.weight"]
    averages = [state["average"]["model"]["body.conv1.weight"] for state in snapshots.states]
    assert torch.equal(best, averages[1].half())  # the best weights, not the last
    assert not torch.equal(best, averages[3].half())
    train(config, run, snapshots)  # is over, and trains no further
    assert len(history(run)) == 4


def test_patience_counts_epochs_of_all_layers(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script_losses(monkeypatch, [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    config = small(dataset_folder, freeze_epochs=3, epochs=4, patience=2, limit=16)
    records = history(run_training(config, tmp_path / "run"))
    assert [record["phase"] for record in records] == ["head"] * 3 + ["all"] * 2


def test_a_loss_that_diverges_is_named(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from agecli.training.objectives import AgeObjective

    monkeypatch.setattr(
        AgeObjective, "forward", lambda self, logits, ages: logits.sum() * torch.nan
    )
    run = Run.create(tmp_path / "run", small(dataset_folder))
    with pytest.raises(TrainingError, match="lower --lr"):
        train(small(dataset_folder), run)
    assert not run.best.exists()


def test_weights_that_diverge_are_named(dataset_folder: Path, tmp_path: Path, monkeypatch):
    step = torch.optim.AdamW.step

    def explode(self, *arguments, **keywords):
        result = step(self, *arguments, **keywords)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.fill_(torch.nan)
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", explode)
    run = Run.create(tmp_path / "run", small(dataset_folder))
    with pytest.raises(TrainingError, match="lower --lr"):
        train(small(dataset_folder), run)
    assert not run.best.exists()


# Options


@pytest.mark.parametrize(
    "settings",
    [
        {"amp": True, "limit": 8, "batch_size": 8},
        {"objective": "groups", "balance": "sqrt", "augment": "wild", "label_smoothing": 0.1},
        {"objective": "ages", "ema": 0.0, "freeze_epochs": 1},
        {"batch_size": 64, "limit": 20},
    ],
    ids=str,
)
def test_options_train(dataset_folder: Path, tmp_path: Path, settings: dict, recwarn):
    run = run_training(small(dataset_folder, **settings), tmp_path / "run")
    outputs = load_file(run.best)["head.8.weight"].shape[0]
    groups = len(Scheme.parse("adience8"))
    assert outputs == (groups if settings.get("objective") == "groups" else 101)
    assert np.isfinite(history(run)[-1]["val_loss"])
    assert [str(warning.message) for warning in recwarn] == []


def test_checkpointing_gives_the_same_training(dataset_folder: Path, tmp_path: Path):
    plain, saving = (
        history(run_training(small(dataset_folder, grad_checkpoint=wanted), tmp_path / str(wanted)))
        for wanted in (False, True)
    )
    assert plain[0]["val_loss"] == pytest.approx(saving[0]["val_loss"], rel=1e-4)


def test_balanced_training_is_validated_without_weights(dataset_folder: Path, tmp_path: Path):
    settings = {"balance": "full", "ema": 0, "limit": 0, "batch_size": 32}
    run = run_training(small(dataset_folder, **settings), tmp_path / "run")
    loss = validation_loss(run, run.load()["model"])
    assert history(run)[0]["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_mixed_precision_ends_with_an_error(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Autocast that stays on would keep halved copies of the weights for ever."""

    def fail(self: Body, x: torch.Tensor) -> torch.Tensor:
        assert torch.is_autocast_enabled("cpu")
        raise RuntimeError("boom")

    monkeypatch.setattr(Body, "forward", fail)
    config = small(dataset_folder, amp=True)
    with pytest.raises(RuntimeError, match="boom"):
        train(config, Run.create(tmp_path / "run", config))
    assert not torch.is_autocast_enabled("cpu")


def test_a_single_image_is_too_few_for_batch_norm(dataset_folder: Path, tmp_path: Path):
    from agecli.errors import DataError
    from agecli.training.memory_plan.budget import halve_batch

    with pytest.raises(UsageError, match="--batch-size"):
        small(dataset_folder, batch_size=1)
    assert halve_batch(small(dataset_folder, batch_size=2)) is None
    config = small(dataset_folder, limit=1)
    with pytest.raises(DataError, match="1 train images"):
        train(config, Run.create(tmp_path / "run", config))


def test_a_run_resumes_without_the_weights_it_started_from(dataset_folder: Path, tmp_path: Path):
    start = tmp_path / "start.pth"
    torch.save(Body("resnet18").state_dict(), start)
    config = small(dataset_folder, init=str(start), freeze_epochs=1, epochs=1)
    run = Run.create(tmp_path / "run", config)

    class Cut(Observer):
        def finished_epoch(self, epoch: Epoch) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, run, Cut())
    start.unlink()
    assert train(config, run).training["epochs"] == 2


def test_dlibs_network_has_no_imagenet_weights(dataset_folder: Path):
    config = small(dataset_folder, arch="dlib29", init="imagenet", image_size=103)
    with pytest.raises(UsageError, match=r"--arch dlib29 .*--init none"):
        settle(config, announce=lambda text: None, dry=True)


def test_a_training_begins_with_dlibs_network(dataset_folder: Path, tmp_path: Path):
    """Steps that are too small to change anything leave what the training began with."""
    start = write_dlib(tmp_path / "dlib.dat", random_layers())
    config = small(
        dataset_folder, arch="dlib29", init=str(start), image_size=103, lr=1e-9, freeze_epochs=1
    )
    run = run_training(config, tmp_path / "run")
    weights, expected = load_file(run.best), read_body(start)
    for name, tensor in expected.items():
        if tensor.ndim == 4:
            torch.testing.assert_close(
                weights[f"body.{name}"].float(), tensor, rtol=1e-3, atol=1e-4
            )
    assert read_metadata(run.best).training["init"] == "dlib.dat"
    assert read_fingerprints(run.best) is not None  # dlib's faces had no ages
