"""Cross-validation, from an Adience folder to a mean and a standard deviation."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import agecli
from agecli.commands.evaluate import evaluate
from agecli.config import PrepareConfig
from agecli.data.prepare import prepare
from agecli.data.store import open_dataset
from agecli.errors import DataError, UsageError
from agecli.evaluation.folds import Spread, spread_over_folds
from agecli.evaluation.report.tables import FOLDS
from agecli.weights import read_metadata
from tests.archives import draw_face
from tests.evaluation.report.test_page import make_result

AGES = {"(0, 2)": 1, "(4, 6)": 5, "(25, 32)": 28, "(60, 100)": 70}
PERSONS, PICTURES = 40, 5
TOY = {
    "image_size": 16, "epochs": 1, "batch_size": 16, "device": "cpu", "ema": 0.0,
    "objective": "groups",
}  # fmt: skip


def write_adience(folder):
    """Write drawn faces of 40 persons as Adience has them: five tables, a folder per person."""
    head = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\t" \
           "fiducial_yaw_angle\tfiducial_score\n"  # fmt: skip
    tables = [head] * 5
    for person in range(PERSONS):
        user = f"{person}@N03"
        (folder / "aligned" / user).mkdir(parents=True)
        text, age = [*AGES.items()][person // 5 % 4]
        for picture in range(PICTURES):
            name = f"{picture}_o.jpg"
            path = folder / "aligned" / user / f"landmark_aligned_face.{person}.{name}"
            draw_face(age, person * 100 + picture, 48).save(path, quality=95)
            row = (user, name, person, text, "mf"[person % 2], 0, 0, 48, 48, 0, 0, 1)
            tables[person % 5] += "\t".join(map(str, row)) + "\n"
    for number, table in enumerate(tables):
        (folder / f"fold_{number}_data.txt").write_text(table)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    source = tmp_path_factory.mktemp("source") / "adience"
    write_adience(source)
    out = tmp_path_factory.mktemp("data") / "adience"
    prepare([source], out, PrepareConfig(size=32), workers=1)
    return out


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for fold in range(5):
        agecli.train("cnn", data=data, run=folder / f"fold-{fold}", fold=fold, **TOY)
    return [folder / f"fold-{fold}" for fold in range(5)]


def _run(*arguments):
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_official_folds_are_kept_and_persons_stay_whole(data):
    opened = open_dataset(data)
    persons = [int(person.partition("@")[0]) for person in opened.persons.tolist()]
    assert opened.folds.tolist() == [person % 5 for person in persons]
    for fold in range(5):
        view = open_dataset(data, fold)
        homes = {*zip(view.persons.tolist(), view.splits.tolist(), strict=True)}
        assert len(homes) == PERSONS
        assert not view.excluded[view.folds == fold].any()


def test_five_runs_give_a_mean_and_a_standard_deviation(data, runs, tmp_path):
    *lines, last = map(json.loads, _run(*runs, "--data", data, "--json").splitlines())
    assert [line["fold"] for line in lines] == [0, 1, 2, 3, 4]
    assert [line["n"] for line in lines] == [PERSONS * PICTURES // 5] * 5
    assert all(line["same_split"] for line in lines)
    (folds,) = last["folds"]
    assert folds["folds"] == [0, 1, 2, 3, 4]
    for name in ("exact", "one_off", "macro_f1"):
        values = [line[name] for line in lines]
        assert folds["figures"][name] == pytest.approx(
            {"mean": np.mean(values), "sd": np.std(values, ddof=1)}
        )
    assert "mae" not in folds["figures"]  # groups alone
    exact = folds["figures"]["exact"]
    shown = f"{100 * exact['mean']:.1f} ± {100 * exact['sd']:.1f}"
    text = _run(*runs, "--data", data, "--report", tmp_path / "report")
    assert shown in text
    title = FOLDS.partition(" (")[0]
    assert re.search(rf"\.\s*\n\s*\n{title}", text)  # not joined to the sentence above
    assert shown in (tmp_path / "report" / "report.md").read_text()
    assert shown in (tmp_path / "report" / "index.html").read_text()


def test_a_run_says_its_fold_and_its_figures_are_those_of_its_images(data, runs):
    metadata = read_metadata(runs[3] / "best.safetensors")
    assert metadata.training["config"]["fold"] == 3
    assert metadata.split_hash == open_dataset(data, 3).split_hash
    (row,) = agecli.evaluate(runs[3], data=data, device="cpu").models
    assert row.rows.tolist() == open_dataset(data, 3).rows("test").tolist()
    assert row.scores.exact == metadata.metrics["exact"]


def test_models_of_several_folds_form_no_pairs_and_no_ensemble(data, runs):
    suite = agecli.evaluate(*runs[:2], data=data, device="cpu")
    assert suite.ensemble is None and suite.pairs == []
    for option in ("robustness", "photographs"):
        with pytest.raises(UsageError, match=f"--{option}: models of several folds share no"):
            agecli.evaluate(*runs[:2], data=data, device="cpu", **{option: True})


def test_a_run_on_other_data_is_not_taken_for_one_of_its_folds(runs, dataset_folder):
    suite = agecli.evaluate(*runs[:2], data=dataset_folder, device="cpu")
    assert [(row.fold, row.same_split) for row in suite.models] == [(None, False)] * 2
    assert not suite.folds and suite.pairs and suite.ensemble


def test_a_training_resumes_with_its_fold(data, tmp_path):
    agecli.train("cnn", data=data, run=tmp_path / "run", fold=2, **TOY)
    done = agecli.resume(tmp_path / "run")
    assert done.config.fold == 2
    with pytest.raises(DataError, match=r"--fold: .* has no fold 7"):
        agecli.train("cnn", data=data, run=tmp_path / "other", fold=7, **TOY)


def test_means_are_of_one_model_and_of_folds_that_differ():
    def result(title, fold, number):
        return replace(make_result(f"{title}-{fold}", number), title=title, fold=fold)

    rows = [result("cnn", 0, 1), result("cnn", 1, 2), result("resnet", 0, 3)]
    (folds,) = spread_over_folds([*rows, replace(rows[0], fold=None)])
    assert (folds.model, folds.folds) == ("cnn", [0, 1])
    a, b = (row.scores.exact for row in rows[:2])
    assert folds.figures["exact"] == Spread((a + b) / 2, pytest.approx(abs(a - b) / 2**0.5))
    assert not spread_over_folds([rows[0], rows[0]])
