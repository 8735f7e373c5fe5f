"""The loop's parts against formulas, and the loop on drawn faces."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from agecli.ages import NO_GROUP
from agecli.config import CapsNetConfig, CnnConfig, TrainConfig
from agecli.data.manifest import Manifest
from agecli.data.receipt import Receipt
from agecli.data.seen import Seen, fingerprints_of
from agecli.data.store import open_dataset
from agecli.errors import DataError, TrainingError, UsageError
from agecli.training import loop, results
from agecli.training.devices import make_accelerator
from agecli.training.loop import MovingAverage, Schedule
from agecli.training.observer import Observer
from agecli.training.pytorch import train
from agecli.training.records import Epoch, Started, Step
from agecli.training.results import check_loss
from agecli.training.runs import Run
from agecli.training.session import Session, hash_seed
from agecli.weights import read_fingerprints, read_tensors


def small(dataset: Path, kind: type[TrainConfig] = CnnConfig, **settings) -> TrainConfig:
    size = 32 if kind is CapsNetConfig else 16
    defaults = dict(image_size=size, batch_size=16, epochs=2, lr=3e-3, dropout=0.1, device="cpu")
    return kind(data=str(dataset), **(defaults | settings))


def run_training(config: CnnConfig, folder: Path, observer: Observer | None = None) -> Run:
    run = Run.create(folder, config)
    train(config, run, observer)
    return run


def knows_its_images(run: Run, dataset_folder: Path) -> None:
    """Compare the fingerprints of a run that used all images with a group with these images."""
    dataset = open_dataset(dataset_folder)
    known = Seen(read_fingerprints(run.best))
    groups = dataset.scheme.groups_of(dataset.ages) != NO_GROUP
    for split, seen in (("train", True), ("val", True), ("test", False)):
        rows = dataset.rows(split)
        answers = known.knows(fingerprints_of(dataset, rows[groups[rows]]))
        assert set(answers.tolist()) == {seen}, split


def history(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_moving_average_follows_its_formula():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = MovingAverage(model, 0.5)
    expected = 1.0
    for step, value in enumerate([2.0, 3.0, 4.0, 10.0], start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.model.weight.item() == pytest.approx(expected)


def test_moving_average_takes_batch_norms_statistics_as_they_are():
    model = nn.BatchNorm1d(2)
    average = MovingAverage(model, 0.9)
    model(torch.randn(8, 2))
    average.update(model)
    assert torch.equal(average.model.running_mean, model.running_mean)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_a_moving_average_resumes_from_what_was_kept():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    whole, first = MovingAverage(model, 0.9), MovingAverage(model, 0.9)
    for step in range(6):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        whole.update(model)
        if step == 3:
            second = MovingAverage(nn.Linear(3, 2), 0.9)
            second.load_state_dict(first.state_dict())
            first = second
        first.update(model)
    assert torch.equal(first.model.weight, whole.model.weight)
    assert first.steps == 6


def rates_of(schedule: str, *rates: float) -> np.ndarray:
    """Return the rates of groups of weights at each of 20 steps, and after them (21, groups)."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    optimizer = torch.optim.AdamW(groups)
    config = CnnConfig(schedule=schedule, epochs=5, lr=rates[0])
    schedule = Schedule(optimizer, config, 4)
    found = [[group["lr"] for group in optimizer.param_groups]]
    for _ in range(20):
        optimizer.step()
        schedule.after_step()
        schedule.after_epoch(1.0)  # which the others heed
        found.append([group["lr"] for group in optimizer.param_groups])
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
    return np.array(found)


def test_cosine_is_half_a_wave():
    wave = (1 + np.cos(np.pi * np.arange(21) / 20)) / 2
    np.testing.assert_allclose(rates_of("cosine", 0.1, 0.02), wave[:, None] * [0.1, 0.02],
                               atol=1e-9)  # fmt: skip


def test_one_cycle_rises_to_each_groups_rate_for_three_tenths():
    rates = rates_of("onecycle", 0.1, 0.02)
    assert rates.argmax(axis=0).tolist() == [6, 6]  # the first beyond 30 % of 21 steps less one
    np.testing.assert_allclose(rates[0], [0.1 / 25, 0.02 / 25])
    np.testing.assert_allclose(rates[:, 0], rates[:, 1] * 5)


@pytest.mark.parametrize("name", ["onecycle", "cosine"])
def test_schedules_end_near_zero_after_all_steps(name: str):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(optimizer, CnnConfig(schedule=name, epochs=5, lr=0.1), 4)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.after_step()
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    assert optimizer.param_groups[0]["lr"] < 1e-4


def test_plateau_lowers_the_rate_when_validation_stalls():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(optimizer, CnnConfig(schedule="plateau"), 4)
    for _ in range(3):
        schedule.after_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1
    schedule.after_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.03)


def test_seeds_are_63_bits_and_depend_on_every_part():
    seeds = [hash_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)]
    assert len(set(seeds)) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62 > min(seeds)


def test_a_loss_that_is_not_a_number_says_what_to_do():
    check_loss(1e30, 1, CnnConfig(amp=True))
    for loss in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(TrainingError, match=rf"became {loss} in epoch 3: lower --lr$"):
            check_loss(loss, 3, CnnConfig())
    with pytest.raises(TrainingError, match=r"lower --lr or leave out --amp$"):
        check_loss(float("nan"), 1, CnnConfig(amp=True))


def test_validation_scores_what_was_predicted():
    """Four images of the ages 1, 5, 30 and 3, of which the first two are answered right."""
    from types import SimpleNamespace

    from agecli.ages import Scheme
    from agecli.training.objectives import AgeObjective

    scheme, ages = Scheme.parse("adience8"), np.array([99, 1, 5, 30, 3])
    dataset, rows = SimpleNamespace(ages=ages, scheme=scheme), np.array([1, 2, 3, 4])
    logits = torch.full((4, 101), -30.0)
    logits[torch.arange(4), torch.tensor([1, 5, 50, 70])] = 30.0
    for name, outputs in (("ages", logits), ("groups", logits[:, [1, 5, 9, 17, 28, 40, 50, 70]])):
        objective = AgeObjective(CnnConfig(objective=name), scheme, ages).eval()
        session = Session(
            CnnConfig(), Run(Path("unused")), Observer(), dataset, torch.device("cpu"), objective,
            {},
        )  # fmt: skip
        val = session.validate(outputs, rows)
        assert (val.exact, val.one_off) == pytest.approx((2 / 3, 2 / 3))
        assert val.macro_f1 == pytest.approx(2 / 4)  # of the groups that occur
        expected = objective(outputs, torch.from_numpy(ages[rows])).item()
        assert val.loss == pytest.approx(expected)
        assert val.mae == (pytest.approx((20 + 67) / 4, abs=0.01) if name == "ages" else None)


class Told(Observer):
    """Records all events of an observer."""

    def __init__(self) -> None:
        self.trainings: list[Started] = []
        self.steps: list[Step] = []
        self.epochs: list[Epoch] = []

    def started(self, training: Started) -> None:
        self.trainings.append(training)

    def stepped(self, step: Step) -> None:
        self.steps.append(step)

    def finished_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a second passes whenever the loop looks at it."""
    from itertools import count
    from types import SimpleNamespace

    seconds = count(100.0)
    for module in (loop, results):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))


@pytest.mark.parametrize("between", [0.5, 3.5, 100])
def test_what_is_reported_of_a_training(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock, between: float
):
    """48 images in steps of 16, in two epochs; a step takes a second."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", between)
    told = Told()
    config = small(dataset_folder, limit=48, schedule="plateau")
    run = run_training(config, tmp_path / "run", told)
    heard = [1, 2, 3] if between < 1 else [3]
    assert [(s.epoch, s.step) for s in told.steps] == [(e, n) for e in (1, 2) for n in heard]
    assert {s.steps for s in told.steps} == {3}
    assert {s.images_per_second for s in told.steps} == {16}
    assert {s.lr for s in told.steps} == {3e-3}
    assert told.trainings[0].done == 0 and told.trainings[0].epochs == 2
    assert run.history() == told.epochs
    for number, epoch in enumerate(told.epochs, 1):
        last = told.steps[number * len(heard) - 1]
        assert epoch.epoch == number
        assert epoch.train_loss == pytest.approx(last.loss)
        assert epoch.lr == 3e-3
        assert epoch.images_per_second == 12  # 48 images, and the clock was read once more
        assert epoch.seconds == 6


@pytest.mark.parametrize("ema", [0, 0.9])
def test_batches_are_trained_on_and_validated_in_their_modes(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
):
    from agecli.models.cnn import CNN
    from agecli.training.objectives import AgeObjective

    modes: dict[type, list[bool]] = {}
    for kind in (CNN, AgeObjective):

        def forward(self, *inputs, kind=kind, forward=kind.forward):
            modes.setdefault(kind, []).append(self.training)
            return forward(self, *inputs)

        monkeypatch.setattr(kind, "forward", forward)
    saved = []
    monkeypatch.setattr("agecli.training.results.Results.finish", lambda *_, **__: saved.append(1))
    run_training(small(dataset_folder, limit=48, ema=ema), tmp_path / "run")
    validated = len(modes[CNN]) // 2 - 3
    assert validated >= 1
    assert modes[CNN] == ([True] * 3 + [False] * validated) * 2
    assert modes[AgeObjective] == ([True] * 3 + [False]) * 2


def test_the_average_takes_in_every_step_of_the_optimiser(dataset_folder: Path, tmp_path: Path):
    config = small(dataset_folder, limit=48, batch_size=8, accumulate=3, ema=0.9)
    state = run_training(config, tmp_path / "run").load()
    assert state["average"]["steps"] == 2 * 2  # of 6 batches in each of two epochs
    assert state["schedule"]["last_epoch"] == 2 * 2


@pytest.mark.slow
def test_a_training_learns_to_distinguish_drawn_faces(dataset_folder: Path, tmp_path: Path):
    config = small(dataset_folder, epochs=12, ema=0.9, image_size=32)
    run = run_training(config, tmp_path / "run")
    records = history(run)
    assert records[-1]["val_loss"] < 0.8 * records[0]["val_loss"]
    assert max(record["val_exact"] for record in records) > 0.4  # 1/8 by chance


@pytest.mark.slow
def test_a_capsnet_learns_to_distinguish_drawn_faces(dataset_folder: Path, tmp_path: Path):
    config = small(dataset_folder, CapsNetConfig, epochs=12, ema=0.9)
    records = history(run_training(config, tmp_path / "run"))
    assert records[-1]["val_loss"] < 0.8 * records[0]["val_loss"]
    assert max(record["val_exact"] for record in records) > 0.4  # 1/8 by chance


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, *, above: int) -> list[int]:
    """Make the model fail like CUDA for batches above a size, from the second epoch on."""
    from agecli.models.cnn import CNN

    forward, sizes = CNN.forward, []

    def limited(self: CNN, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if self.training and len(x) > above and len(sizes) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, x)

    monkeypatch.setattr(CNN, "forward", limited)
    return sizes


class Listener(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def test_out_of_memory_is_explained(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_out_of_memory(monkeypatch, above=0)
    with pytest.raises(TrainingError, match=r"--grad-checkpoint.*--batch-size 8 --accumulate 2"):
        run_training(small(dataset_folder, epochs=4), tmp_path / "run")


def test_under_a_budget_half_the_micro_batch_resumes_from_the_last_epoch(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes = run_out_of_memory(monkeypatch, above=4)
    listener = Listener()
    config = small(dataset_folder, epochs=4, vram_budget="4GB")
    run = run_training(config, tmp_path / "run", listener)
    assert len(history(run)) == 4
    assert {16, 8, 4} <= set(sizes)
    assert [text.split(": ")[1] for text in listener.warnings] == [
        "continuing with 2 batches of 8 per step", "continuing with 4 batches of 4 per step"
    ]  # fmt: skip
    _, kept = Run.open(run.folder)
    assert (kept.batch_size, kept.accumulate) == (4, 4)


def test_another_error_of_torch_is_left_alone(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from agecli.models.cnn import CNN

    def broken(self: CNN, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(CNN, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run_training(small(dataset_folder, vram_budget="4GB"), tmp_path / "run")


def test_a_run_holds_what_the_design_says(dataset_folder: Path, tmp_path: Path):
    from agecli.weights import read_metadata

    run = run_training(small(dataset_folder), tmp_path / "run")
    names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*")}
    assert names == {
        "best.safetensors", "config.json", "last", "last/state.pt", "log.txt", "metrics.jsonl"
    }  # fmt: skip
    metadata = read_metadata(run.best)
    receipt = json.loads((dataset_folder / "receipt.json").read_text())
    assert metadata.split_hash == receipt["split_hash"]
    assert metadata.metrics["n"] > 0
    assert metadata.training["epochs"] == 2


def test_the_file_is_calibrated_on_validation_images(dataset_folder: Path, tmp_path: Path):
    from dataclasses import replace

    from agecli.data.store import open_dataset
    from agecli.evaluation.calibration import fit_decision, fit_sets, fit_temperature, rescale
    from agecli.evaluation.perturbations import CALIBRATION_VIEWS
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    run = run_training(small(dataset_folder), tmp_path / "run")
    model = Predictor([run.best], device="cpu").models[0]
    kept = model.metadata.temperature
    model.metadata = replace(model.metadata, temperature=1.0)
    dataset = open_dataset(dataset_folder)
    result = evaluate_model(model, dataset, "val")
    answers = model.interpret(result.distribution)
    assert kept == pytest.approx(fit_temperature(answers, result.ages), rel=1e-6)
    assert kept != 1
    calibrated = replace(answers, distribution=rescale(answers.distribution, kept))
    assert model.metadata.decision == fit_decision(calibrated, result.ages)
    changed = (evaluate_model(model, dataset, "val", change=view) for view in CALIBRATION_VIEWS)
    *smaller, perturbed = (
        replace(answers, distribution=rescale(one.distribution, kept)) for one in changed
    )
    perturbed = replace(perturbed, decision=model.metadata.decision)
    sets = fit_sets([*smaller, calibrated], perturbed, result.ages)
    np.testing.assert_allclose(model.metadata.sets.groups, sets.groups, rtol=1e-5)
    np.testing.assert_allclose(model.metadata.sets.years, sets.years, rtol=1e-5)
    assert model.metadata.sets.largest_entropy == pytest.approx(sets.largest_entropy, rel=1e-5)


def test_the_metrics_in_the_file_are_those_that_evaluate_gives(
    dataset_folder: Path, tmp_path: Path
):
    from agecli.data.store import open_dataset
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    run = run_training(small(dataset_folder), tmp_path / "run")
    model = Predictor([run.best], device="cpu").models[0]
    result = evaluate_model(model, open_dataset(dataset_folder), "test")
    scores = result.metrics()
    assert model.metadata.metrics == json.loads(json.dumps(scores))


class StopAfter(Observer):
    """Interrupts a training in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def stepped(self, step: Step) -> None:
        if step.epoch > self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "settings",
    [{"schedule": "onecycle"}, {"schedule": "plateau"},
     {"kind": CapsNetConfig, "reconstruction": True}],
    ids=str,
)  # fmt: skip
def test_a_resumed_training_ends_with_the_same_bits(
    dataset_folder: Path, tmp_path: Path, settings: dict
):
    config = small(dataset_folder, epochs=4, **settings)
    whole = run_training(config, tmp_path / "whole")
    run = Run.create(tmp_path / "cut", config)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, StopAfter(2))
    assert len(history(run)) == 2
    run, config = Run.open(run.folder)
    train(config, run)
    expected, actual = whole.load(), run.load()
    for part in ("model", "average"):
        a, b = expected[part], actual[part]
        if part == "average":
            a, b = a["model"], b["model"]
        assert all(torch.equal(a[name], b[name]) for name in a), part
    from safetensors.torch import load_file

    a, b = load_file(whole.best), load_file(run.best)
    assert all(torch.equal(a[name], b[name]) for name in a)
    times = ("seconds", "images_per_second")
    for first, second in zip(history(whole), history(run), strict=True):
        assert {k: v for k, v in first.items() if k not in times} == {
            k: v for k, v in second.items() if k not in times
        }


def test_training_stops_when_validation_no_longer_improves(dataset_folder: Path, tmp_path: Path):
    config = small(dataset_folder, epochs=30, lr=1e-8, patience=2, ema=0, schedule="cosine")
    records = history(run_training(config, tmp_path / "run"))
    best = max(record["epoch"] for record in records if record["best"])
    assert len(records) == best + 2 < 30


def test_the_best_weights_are_kept_not_the_last(dataset_folder: Path, tmp_path: Path):
    from agecli.weights import read_metadata

    run = run_training(small(dataset_folder, epochs=5, lr=0.05, ema=0), tmp_path / "run")
    best = min(history(run), key=lambda record: record["val_loss"])
    assert read_metadata(run.best).training["best_epoch"] == best["epoch"]


def test_the_average_is_validated_and_saved(dataset_folder: Path, tmp_path: Path):
    """The loss of the file's own answers, not of the weights that go on training."""
    from dataclasses import replace

    from agecli.data.store import open_dataset
    from agecli.evaluation.scoring import evaluate_model
    from agecli.inference.predictor import Predictor

    config = small(
        dataset_folder, epochs=1, batch_size=4, lr=0.02, ema=0.99, schedule="plateau",
        objective="groups", balance="full",
    )  # fmt: skip
    run = run_training(config, tmp_path / "run")
    saved, state = read_tensors(run.best), run.load()
    raw, average = state["model"], state["average"]["model"]
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor.float(), average[name].float(), rtol=1e-3, atol=1e-3)
    assert any((raw[name] - average[name]).abs().max() > 0.01 for name in saved)
    model = Predictor([run.best], device="cpu").models[0]
    model.metadata = replace(model.metadata, temperature=1.0)
    result = evaluate_model(model, open_dataset(dataset_folder), "val", flip=False)
    truth = result.scheme.groups_of(result.ages)
    chances = result.probabilities[truth >= 0, truth[truth >= 0]]
    (record,) = history(run)
    assert record["val_loss"] == pytest.approx(-np.log(chances).mean(), rel=0.01)
    assert record["val_exact"] == pytest.approx(result.scores.exact, abs=0.03)


@pytest.mark.parametrize(
    "settings",
    [
        {"amp": True},
        {"grad_checkpoint": True},
        {"accumulate": 2, "batch_size": 8},
        {"objective": "groups", "balance": "sqrt"},
        {"objective": "ages", "ema": 0.0, "limit": 20},
        {"kind": CapsNetConfig, "amp": True, "grad_checkpoint": True},
        {"kind": CapsNetConfig, "reconstruction": True, "balance": "full", "routing_iters": 1},
        {"kind": CapsNetConfig, "stem": "classic", "share": False, "batch_size": 8, "limit": 16},
    ],
    ids=str,
)
def test_options_train(dataset_folder: Path, tmp_path: Path, settings: dict):
    run = run_training(small(dataset_folder, epochs=1, **settings), tmp_path / "run")
    assert run.best.exists()


def test_checkpointing_gives_the_same_training(dataset_folder: Path, tmp_path: Path):
    plain = run_training(small(dataset_folder, epochs=1), tmp_path / "plain")
    saving = run_training(
        small(dataset_folder, epochs=1, grad_checkpoint=True), tmp_path / "saving"
    )
    assert history(plain)[0]["val_loss"] == pytest.approx(history(saving)[0]["val_loss"], rel=1e-4)


def test_a_loss_that_diverges_is_named(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from agecli.training.objectives import AgeObjective

    monkeypatch.setattr(AgeObjective, "forward", lambda self, logits, *_: logits.sum() * torch.nan)
    run = Run.create(tmp_path / "run", small(dataset_folder))
    with pytest.raises(TrainingError, match="lower --lr"):
        train(small(dataset_folder), run)
    assert not run.best.exists()


def test_a_device_that_is_not_here_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UsageError, match="--device"):
        make_accelerator(CnnConfig(device="cuda"))


def test_a_data_set_without_validation_images_is_refused(dataset_folder: Path, tmp_path: Path):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(dataset_folder, folder)
    text = (folder / "manifest.csv").read_text().replace(",val,", ",train,")
    (folder / "manifest.csv").write_text(text)
    manifest = Manifest.read(folder / "manifest.csv")
    receipt = Receipt.read(folder / "receipt.json")
    new = replace(receipt, split_hash=manifest.split_hash, manifest=manifest.sha256)
    new.write(folder / "receipt.json")
    config = small(folder)
    with pytest.raises(DataError, match="no val images"):
        train(config, Run.create(tmp_path / "run", config))
