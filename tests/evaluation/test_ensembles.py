"""Ensembles: the plain mean, and those fitted on validation images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from agecli.ages import YEARS, Answers, Scheme, label_distribution
from agecli.decision import MEDIAN
from agecli.errors import DataError, UsageError
from agecli.evaluation import metrics
from agecli.evaluation.ensembles import fit_ensemble, fit_powers, make_ensemble
from agecli.evaluation.significance import mcnemar
from agecli.evaluation.suite import evaluate
from agecli.inference.fitted import FILE, FLOOR, combine, find_fitted
from tests.evaluation.report.test_page import SCHEME, make_result
from tests.evaluation.toys import SAME, write_data, write_weights


def test_the_plain_mean_is_of_probabilities_and_ages():
    results = [make_result("one", 1), make_result("two", 2)]
    together = make_ensemble(results)
    assert together is not None and together.title == "plain mean"
    mean = (results[0].probabilities + results[1].probabilities) / 2
    np.testing.assert_allclose(together.probabilities, mean)
    said = MEDIAN.decide(mean)
    scores = metrics.score(mean, results[0].ages, SCHEME, decided=said)
    assert together.scores.exact == scores.exact
    np.testing.assert_array_equal(together.answers, said)
    assert together.images_per_second == 50
    ages = (results[0].answered + results[1].answered) / 2
    np.testing.assert_allclose(together.answered, ages)
    assert together.scores.mae == pytest.approx(np.abs(ages - results[0].ages[:, 0]).mean())
    assert together.scores.mae < min(result.scores.mae for result in results)


def test_its_age_is_that_of_the_models_that_give_one():
    results = [replace(make_result("one", 1), answered=None), make_result("two", 2)]
    together = make_ensemble(results)
    np.testing.assert_array_equal(together.answered, results[1].answered)
    assert make_ensemble([results[0], replace(results[0], name="three")]).answered is None


def test_an_ensemble_is_as_strange_to_a_split_as_the_strangest_of_its_models():
    results = [make_result("one", 1), replace(make_result("two", 2), same_split=False)]
    assert not make_ensemble(results).same_split


def noisy(path: Path, seed: int, noise: float, *, years: bool = True):
    """Return a model that predicts ages with its own error, under its weights file's name."""
    random = np.random.default_rng(seed)
    base = make_result(path.stem, 0)
    ages = base.ages[:, 0]
    chances = label_distribution(ages + random.normal(size=len(ages)) * noise, width=noise / 3)
    read = Answers(chances.astype(float), SCHEME, True)
    if not years:
        read = Answers(read.groups, SCHEME, False)
    path.write_bytes(path.name.encode())
    return replace(
        base, weights=path, distribution=read.distribution, probabilities=read.groups,
        answered=read.ages, knows_years=years, split="val",
        scores=metrics.score(read.groups, base.ages, SCHEME, read.ages),
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path):
    return [
        noisy(tmp_path / "poor.safetensors", 1, 9),
        noisy(tmp_path / "groups.safetensors", 2, 6, years=False),
        noisy(tmp_path / "good.safetensors", 3, 6),
    ]


def likelihood(answers: list[Answers], truth: np.ndarray, powers: np.ndarray) -> float:
    known = truth >= 0
    chances = combine(answers, powers).groups[known]
    return float(np.log(chances[np.arange(len(chances)), truth[known]]).mean())


def test_no_other_powers_make_the_true_groups_likelier(results):
    answers = [Answers(one.distribution, one.scheme, one.knows_years) for one in results]
    truth = results[0].truth
    powers = fit_powers(answers, truth)
    best = likelihood(answers, truth, powers)
    random = np.random.default_rng(0)
    for scale in (0.3, 0.03):
        for _ in range(30):
            other = np.maximum(powers + random.normal(size=3) * scale, 0)
            assert likelihood(answers, truth, other) <= best + 1e-9
    assert best > likelihood(answers, truth, np.full(3, 1 / 3))


def test_powers_of_groups_are_those_of_a_logistic_regression():
    random = np.random.default_rng(0)
    scheme = Scheme.parse("0-29,30+")
    truth = random.integers(2, size=400)
    answers = []
    for noise in (1, 2):
        odds = (2 * truth - 1 + random.normal(size=400) * noise) / noise
        second = 1 / (1 + np.exp(-odds))
        answers.append(Answers(np.stack([1 - second, second], axis=1), scheme, False))
    odds = np.stack([np.log(one.groups[:, 1] / one.groups[:, 0]) for one in answers], axis=1)
    known = LogisticRegression(C=1e9, fit_intercept=False).fit(odds, truth).coef_[0]
    np.testing.assert_allclose(fit_powers(answers, truth), known, atol=1e-3)


def test_a_model_that_knows_nothing_does_not_count(results):
    answers = [Answers(one.distribution, one.scheme, one.knows_years) for one in results]
    even = Answers(np.full((300, YEARS), 1 / YEARS), SCHEME, True)
    against = Answers(1 / np.maximum(answers[2].distribution, FLOOR), SCHEME, True)
    against = replace(
        against, distribution=against.distribution / against.distribution.sum(1)[:, None]
    )
    plain = fit_powers(answers, results[0].truth)
    assert fit_powers([answers[2], against], results[0].truth)[1] == 0
    powers = fit_powers([*answers, even], results[0].truth)
    np.testing.assert_allclose(powers[:3], plain, atol=1e-3)


def test_what_is_fitted_is_tested_by_images_left_out(results):
    fitted = fit_ensemble(results, [results] * 3, "0123")
    assert [member.file for member in fitted.members][-1] == "poor.safetensors"
    exact = [member.exact for member in fitted.members]
    assert exact == sorted(exact, reverse=True) and exact[-1] == results[0].scores.exact
    assert fitted.n == results[0].scores.n and fitted.split_hash == "0123"
    together = make_ensemble(results, fitted)
    assert together.scores.exact > max(exact)
    assert fitted.figures["exact"] == pytest.approx(together.scores.exact, abs=0.03)
    assert fitted.figures["mae"] == pytest.approx(together.scores.mae, abs=0.2)
    assert fitted.figures["mae"] != together.scores.mae
    assert together.title == "fitted on validation images" and together.knows_years
    assert fitted.better == (fitted.p < 0.05)
    assert fitted.sets.largest_entropy is None  # no answers are worse than the majority
    (coverage,) = (one for one in together.coverages if one.wanted == 0.9)
    assert coverage.whole.coverage >= 0.9 and coverage.years == pytest.approx(0.9, abs=0.01)


def test_it_is_better_where_the_models_err_apart(tmp_path):
    several = [noisy(tmp_path / f"{n}.safetensors", n, 6) for n in range(1, 9)]
    fitted = fit_ensemble(several, [several] * 3, "")
    assert fitted.better and f"better than {Path(fitted.members[0].file).stem} alone" in str(fitted)
    best = max(several, key=lambda one: one.scores.exact)
    known = best.truth >= 0
    together = make_ensemble(several, fitted)
    right = [(one.answers == one.truth)[known] for one in (together, best)]
    assert mcnemar(*right) < 0.05


def test_twice_the_same_model_is_no_better(tmp_path):
    twice = [noisy(tmp_path / f"{name}.safetensors", 1, 6) for name in ("one", "two")]
    fitted = fit_ensemble(twice, [twice] * 3, "")
    assert not fitted.better and fitted.p > 0.05
    assert "not told apart from one alone" in str(fitted)


def test_what_cannot_be_fitted_is_reported(results):
    other = replace(results[0], scheme=Scheme.parse("decades"))
    with pytest.raises(UsageError, match="different age groups"):
        fit_ensemble([results[1], other], [], "")
    few = [
        replace(one, ages=one.ages[:5], distribution=one.distribution[:5], rows=one.rows[:5])
        for one in results
    ]
    with pytest.raises(DataError, match=r"\d validation images have a group: too few"):
        fit_ensemble(few, [], "")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def weights(tmp_path) -> list[Path]:
    return [
        write_weights(tmp_path / f"{name}.safetensors", seed=seed, objective=objective)
        for seed, (name, objective) in enumerate({"one": "both", "two": "groups"}.items())
    ]


def test_a_fit_is_kept_beside_the_weights_and_used_from_then_on(data, weights):
    options = {"data": data, "device": "cpu"}
    assert evaluate(*weights, **options).ensemble.title == "plain mean"
    suite = evaluate(*weights, split="val", fit=True, **options)
    file = weights[0].with_name(FILE)
    assert suite.found == (find_fitted(weights).fitted, file, "")
    assert json.loads(file.read_text())["split_hash"] == SAME
    joint = suite.found.fitted.combine(
        weights, [Answers(one.distribution, one.scheme, one.knows_years) for one in suite.models]
    )
    np.testing.assert_allclose(suite.ensemble.probabilities, joint.groups)
    np.testing.assert_allclose(suite.ensemble.answered, joint.ages)
    assert evaluate(*weights, **options).ensemble.title == "fitted on validation images"
    write_weights(weights[1], seed=7, objective="groups")
    later = evaluate(*weights, **options)
    assert (
        later.ensemble.title == "plain mean" and "two.safetensors has changed" in later.found.note
    )
    evaluate(*weights, split="val", fit=True, **options)
    assert evaluate(*weights, **options).found.note == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "test"}, "--split val"),
        ({"split": "val", "force": True}, "without --force"),
    ],
)
def test_it_is_fitted_on_validation_images_alone(data, weights, options, words):
    with pytest.raises(UsageError, match=words):
        evaluate(*weights, data=data, device="cpu", fit=True, **options)
    assert not weights[0].with_name(FILE).exists()


def test_a_fit_needs_several_files_of_a_folder(data, weights, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    options = {"data": data, "device": "cpu", "fit": True, "split": "val"}
    for given in (
        [weights[0]],
        [weights[0], weights[0]],
        [weights[0], weights[1].rename(away / "a.safetensors")],
    ):
        with pytest.raises(UsageError, match="several weights files in one folder"):
            evaluate(*given, **options)


def test_what_is_not_an_ensemble_stays(data, weights):
    file = weights[0].with_name(FILE)
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists and was not written by this command"):
        evaluate(*weights, data=data, device="cpu", fit=True, split="val")
    assert file.read_text() == "mine"
