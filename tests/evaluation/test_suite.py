"""The whole evaluation from Python, and what it makes of several models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agecli
from agecli.ages import Scheme
from agecli.errors import DataError, UsageError
from agecli.evaluation import metrics
from agecli.evaluation.perturbations import middle
from agecli.evaluation.suite import check_gate, compare_models, evaluate
from tests.evaluation.report.test_page import make_result, make_suite
from tests.evaluation.toys import PER_SPLIT, write_data, write_weights


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("weights")
    return [write_weights(folder / f"{name}.safetensors", seed=seed)
            for seed, name in enumerate(("one", "two"))]  # fmt: skip


def test_python_gets_what_the_command_prints_and_nothing_is_printed(data, weights, capfd):
    seen = []
    suite = agecli.evaluate(
        *weights, data=data, device="cpu", gates=["exact>=0", "exact<=-1"],
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert suite.names == ["one", "two"] and [row.name for row in suite.rows][2] == "ensemble"
    assert len(suite.pairs) == 1 and suite.robustness == {} and suite.photographs is None
    assert [text.split(": ")[0] for text in suite.failures] == ["one", "two", "ensemble"]
    assert seen[0] == (str(weights[0]), 0, PER_SPLIT)
    assert seen[-1] == (str(weights[1]), PER_SPLIT, PER_SPLIT)
    lines = [*suite.lines()]
    assert ["name" in line for line in lines] == [True] * 3 + [False]
    assert {line["data"] for line in lines} == {str(data)}


def test_one_model_has_no_ensemble_and_no_pairs(data, weights):
    suite = evaluate(weights[0], data=data, split="val", device="cpu")
    assert suite.ensemble is None and suite.pairs == [] and suite.rows == suite.models
    assert suite.models[0].split == "val"


def test_evaluating_looks_for_no_faces(data, weights, monkeypatch):
    def missing() -> None:
        raise AssertionError("the face detector was asked for")

    monkeypatch.setattr("agecli.faces.detector.load_detector", missing)
    monkeypatch.setattr("agecli.inference.predictor.load_detector", missing)
    assert evaluate(weights[0], data=data, device="cpu").models


def test_models_of_another_split_are_refused(data, tmp_path):
    other = write_weights(tmp_path / "other.safetensors", split_hash="other")
    with pytest.raises(DataError, match=r"trained on another split.*marks it\)"):
        evaluate(other, data=data, device="cpu")
    (row,) = evaluate(other, data=data, device="cpu", force=True).models
    assert not row.same_split


def test_earlier_weights_get_advice_on_their_split(tmp_path):
    (tmp_path / "data").mkdir()
    data = write_data(tmp_path / "data")
    receipt = json.loads((data / "receipt.json").read_text())
    (data / "receipt.json").write_text(json.dumps(receipt | {"options": {"audit": 2}}))
    other = write_weights(tmp_path / "other.safetensors", split_hash="other")
    with pytest.raises(
        DataError, match=r"--force .*; `agecli prepare \.\.\. --audit 1` reproduces"
    ):
        evaluate(other, data=data, device="cpu")


def test_a_gate_names_what_fails():
    row = make_result("one", 1)
    assert check_gate("exact>=0", row) is None
    assert check_gate("mae <= 50", row) is None
    failed = check_gate("worst_slice>=0.99", row)
    assert failed and failed.startswith("one: worst_slice is")


def test_gates_of_perturbed_images_are_of_models_and_not_of_their_ensemble(
    data, weights, monkeypatch
):
    monkeypatch.setattr("agecli.evaluation.suite.align_pictures", middle)
    suite = evaluate(
        *weights, data=data, device="cpu", robustness=True,
        gates=["aligned_exact>=0", "perturbed_exact<=-1"],
    )  # fmt: skip
    figure = suite.robustness["one"].figures()["perturbed_exact"]
    assert suite.failures[0] == f"one: perturbed_exact is {figure:.4g}, not <= -1"
    assert [text.split(": ")[0] for text in suite.failures] == ["one", "two"]
    with pytest.raises(UsageError, match="one has no figure 'perturbed_exact'"):
        evaluate(*weights, data=data, device="cpu", gates=["perturbed_exact>=0"])


@pytest.mark.parametrize("sign", [">=", "<="])
def test_a_gate_holds_where_the_figure_is_just_that(sign):
    result = make_result("one", 1)
    row = replace(result, scores=replace(result.scores, exact=0.125))
    assert check_gate(f"exact{sign}0.125", row) is None
    beyond = {">=": "0.126", "<=": "0.124"}[sign]
    assert check_gate(f"exact{sign}{beyond}", row) == f"one: exact is 0.125, not {sign} {beyond}"


@pytest.mark.parametrize("gate", ["exact", "exact>0.5", "exact==1", ">=0.5", "exact>=1.2.3"])
def test_a_gate_that_is_none_is_refused_before_the_work(gate, tmp_path):
    with pytest.raises(UsageError, match=r"--gate: .* is not a condition"):
        evaluate("cnn", data=tmp_path / "none", gates=[gate])


@pytest.mark.parametrize("figure", ["fame", "name", "exact_interval"])
def test_a_gate_of_no_figure_is_wrong_usage(figure):
    with pytest.raises(UsageError, match=rf"one has no figure '{figure}'; figures are .*exact, "):
        check_gate(f"{figure}>=1", make_result("one", 1))


def by_decades(result):
    """Return a model's predictions in decades: equal ages, other groups."""
    scheme = Scheme.parse("decades")
    chances = np.random.default_rng(0).dirichlet(np.ones(len(scheme)), size=len(result.ages))
    scores = metrics.score(chances, result.ages, scheme, result.answered)
    return replace(result, scheme=scheme, probabilities=chances, scores=scores)


def test_models_of_different_groups_are_compared_by_years_alone():
    one, two = make_result("one", 1), by_decades(make_result("two", 2))
    (pair,) = compare_models([one, two])
    errors = [np.abs(result.answered - result.ages[:, 0]) for result in (one, two)]
    assert pair.measure == "years"
    assert pair.difference == pytest.approx(errors[0].mean() - errors[1].mean())
    worse = replace(two, answered=two.answered + 9)
    (pair,) = compare_models([one, worse])
    assert pair.verdict == "one is better" and pair.difference < 0


def test_models_of_different_groups_that_know_no_years_are_not_compared():
    one, two = make_result("one", 1), by_decades(make_result("two", 2))
    assert compare_models([replace(one, answered=None), two]) == []
    three = replace(make_result("three", 3), answered=None)
    pairs = compare_models([one, two, three])
    assert [(pair.first, pair.second, pair.measure) for pair in pairs] == [
        ("one", "two", "years"), ("one", "three", "exact"),
    ]  # fmt: skip


def test_that_groups_differ_is_reported():
    one, two = make_result("one", 1), by_decades(make_result("two", 2))
    assert "different age groups" in make_suite(one, two).caution
    assert make_suite(one, make_result("two", 2)).caution == ""
    assert make_suite(one, two).ensemble is None
