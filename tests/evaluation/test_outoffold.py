"""Out-of-fold answers: by whom, of what, and what becomes of them."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agecli
from agecli.ages import Answers, Scheme
from agecli.config import PrepareConfig
from agecli.data.prepare import prepare
from agecli.data.seen import Seen, fingerprints_of
from agecli.data.store import open_dataset
from agecli.errors import DataError, UsageError
from agecli.evaluation.outoffold import allowed_groups, check_folds, gather, label_shares
from agecli.inference.predictor import load_model
from agecli.weights import read_fingerprints, read_metadata
from tests.archives import SPREAD_AGES, write_faces
from tests.exporting.models import add_fingerprints

SCHEME = Scheme.parse("adience8")
FOLDS = range(3)
TOY = dict(image_size=16, epochs=1, batch_size=16, device="cpu", ema=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "Drawn"
    write_faces(source, SPREAD_AGES * 12)
    out = tmp_path_factory.mktemp("data") / "drawn"
    prepare([source], out, PrepareConfig(size=32, folds=3), workers=1)
    return out


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a run per fold, within the training split."""
    folder = tmp_path_factory.mktemp("runs")
    for fold in FOLDS:
        agecli.train("cnn", data=data, fold=fold, within_train=True, run=folder / f"{fold}", **TOY)
    return [folder / f"{fold}" for fold in FOLDS]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(cli, data: Path, runs: list[Path], tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    result = cli("evaluate", *runs, "--data", data, "--out-of-fold", folder / "answers.csv",
                 "--report", folder / "report", "--json", "--device", "cpu")  # fmt: skip
    assert result.returncode == 0, result.stderr
    (folder / "out").write_text(result.stdout)
    (folder / "err").write_text(result.stderr)
    return folder


def test_within_train_the_folds_hold_out_all_that_the_plain_split_judges_by(data: Path):
    plain = open_dataset(data)
    answered = []
    for fold in FOLDS:
        own = open_dataset(data, fold, within_train=True)
        held = own.rows("test")
        answered += held.tolist()
        used = np.concatenate([own.rows(split) for split in ("train", "val", "test")])
        assert set(plain.splits[used]) == {"train"}
        assert (own.folds[held] == fold).all()
        assert own.split_hash != open_dataset(data, fold).split_hash
    assert sorted(answered) == plain.rows("train").tolist()


def test_each_image_is_predicted_by_the_model_that_has_not_seen_it(
    data: Path, runs: list[Path], written: Path
):
    plain, rows = open_dataset(data), read(written / "answers.csv")
    assert sorted(row["id"] for row in rows) == sorted(plain.ids[plain.rows("train")])
    place = {id: number for number, id in enumerate(plain.ids)}
    for fold, run in zip(FOLDS, runs, strict=True):
        model = load_model(run / "best.safetensors", "cpu")
        own = [row for row in rows if plain.folds[place[row["id"]]] == fold]
        places = np.array([place[row["id"]] for row in own])
        prints = read_fingerprints(model.path)
        assert not Seen(prints).knows(fingerprints_of(plain, places)).any()
        said = model.interpret(model.distributions(plain.images[places]))
        found = np.array([[float(row[str(year)]) for year in range(101)] for row in own])
        np.testing.assert_allclose(found, said.distribution, rtol=1e-3, atol=1e-6)
        ages = [float(row["answered_age"]) for row in own]
        np.testing.assert_allclose(ages, said.ages, atol=0.06)
        groups = [SCHEME.labels[group] for group in said.groups.argmax(axis=1)]
        assert [row["answered_group"] for row in own] == groups
        shares = label_shares(said, plain.ages[places])
        doubts = [float(row["disagreement"]) for row in own]
        np.testing.assert_allclose(doubts, 1 - shares, atol=1e-3)
    doubts = [float(row["disagreement"]) for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    assert {row["split_hash"] for row in rows} == {plain.split_hash}


def test_the_most_doubtful_labels_are_shown(written: Path):
    rows = read(written / "answers.csv")
    last = json.loads((written / "out").read_text().splitlines()[-1])["out_of_fold"]
    assert last["images"] == len(rows) and last["teaches"] and not last["missing"]
    assert [one["id"] for one in last["doubtful"]] == [row["id"] for row in rows[:20]]
    page = (written / "report" / "report.md").read_text()
    assert "## Doubtful labels" in page
    assert f"| {rows[0]['id']} | {rows[0]['label']} |" in page
    assert f"answers.csv: predictions for {len(rows)} images\n" in (written / "err").read_text()


def test_the_file_is_given_back_as_soft_labels(data: Path, written: Path, tmp_path: Path):
    path = written / "answers.csv"
    dataset, few = open_dataset(data), TOY | {"limit": 20}
    trained = agecli.train("cnn", data=data, soft_labels=path, run=tmp_path / "run", **few)
    assert trained.metadata.training["config"]["soft_labels"] == "answers.csv"
    prints = read_fingerprints(trained.weights)  # of all that the models of folds have seen
    assert Seen(prints).knows(fingerprints_of(dataset, dataset.rows("train"))).all()
    with pytest.raises(DataError, match="may have seen validation or test images of this training"):
        agecli.train("cnn", data=data, fold=0, soft_labels=path, run=tmp_path / "fold", **TOY)


def test_folds_of_all_images_teach_no_training(data: Path, tmp_path: Path):
    """Their models have seen the plain split's test images, except those of their own fold."""
    run = agecli.train("cnn", data=data, fold=0, run=tmp_path / "run", **TOY).run
    suite = agecli.evaluate(run, data=data, device="cpu")
    answers = gather(suite.models, suite.dataset)
    assert not answers.teaches
    assert len(answers.rows) + answers.missing == len(open_dataset(data).ids)
    answers.write(tmp_path / "answers.csv")
    with pytest.raises(DataError, match="may have seen validation or test images of this training"):
        agecli.train("cnn", data=data, soft_labels=tmp_path / "answers.csv", **TOY)


def test_what_a_fingerprint_knows_is_left_out(data: Path, runs: list[Path], tmp_path: Path):
    own = open_dataset(data, 0, within_train=True)
    known = own.rows("test")[:3]
    path = tmp_path / "fold.safetensors"
    path.write_bytes((runs[0] / "best.safetensors").read_bytes())
    add_fingerprints(path, fingerprints_of(own, known))
    suite = agecli.evaluate(path, data=data, device="cpu")
    answers = gather(suite.models, suite.dataset)
    assert answers.seen == 3
    assert not set(known) & set(answers.rows)


def test_several_runs_of_a_fold_answer_by_their_mean(data: Path, runs: list[Path]):
    suite = agecli.evaluate(runs[0], data=data, device="cpu")
    (model,) = suite.models
    other = replace(model, distribution=model.distribution[:, ::-1])
    answers = gather([model, other], suite.dataset)
    expected = (model.distribution + other.distribution) / 2
    order = np.argsort(answers.rows)
    np.testing.assert_allclose(answers.answers.distribution[order], expected, rtol=1e-6)
    with pytest.raises(UsageError, match="models of one kind"):
        gather([model, replace(model, knows_years=False)], suite.dataset)


def test_what_is_not_a_run_of_a_fold_is_refused(data: Path, runs: list[Path], dataset_folder: Path):
    check_folds(runs, [data], "test")
    for weights, sets, split in ((["cnn"], [data], "test"), (runs, [dataset_folder], "test")):
        with pytest.raises(UsageError, match=r"--out-of-fold: .* is not a run of"):
            check_folds(weights, sets, split)
    for sets, split in (([data], "val"), ([data, dataset_folder], "test")):
        with pytest.raises(UsageError, match="--out-of-fold: pass one --data"):
            check_folds(runs, sets, split)
    assert read_metadata(runs[0] / "best.safetensors").training["config"]["within_train"]


def test_a_file_that_is_anothers_is_kept(cli, one_line, data: Path, runs: list[Path], tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,age\n")
    result = cli("evaluate", *runs, "--data", data, "--out-of-fold", path)
    assert "--out-of-fold" in one_line(result, 2)
    assert path.read_text() == "id,age\n"


def test_a_label_allows_its_groups_and_a_gap_age_its_neighbours():
    ages = np.array([(28, 28), (22, 22), (30, 39), (20, 36), (3, 3), (60, 120), (33, 37)])
    groups = [
        [SCHEME.labels[group] for group in np.flatnonzero(row)]
        for row in allowed_groups(SCHEME, ages)
    ]
    assert groups == [
        ["25-32"], ["15-20", "25-32"], ["25-32", "38-43"], ["15-20", "25-32"], ["0-2", "4-6"],
        ["60+"], ["25-32", "38-43"],
    ]  # fmt: skip
    late = Scheme.parse("10-19,30-39")
    assert allowed_groups(late, np.array([(5, 5), (50, 50), (25, 25)])).tolist() == [
        [True, False], [False, True], [True, True],
    ]  # fmt: skip
    chances = np.full((1, 8), 0.125)
    assert label_shares(Answers(chances, SCHEME, False), ages[1:2]) == pytest.approx(0.25)
