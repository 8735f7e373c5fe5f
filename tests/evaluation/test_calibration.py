"""Temperature scaling against scipy's minimiser, and rules of decision where the best is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from agecli.ages import YEARS, Answers, Scheme, label_distribution, softmax
from agecli.decision import LIKELIEST, MEDIAN
from agecli.evaluation.calibration import (
    MOST_LOST,
    calibrate,
    fit_decision,
    fit_sets,
    fit_temperature,
    rescale,
)
from agecli.sets import COVERAGES, Sets, group_scores
from tests.test_weights import METADATA

SCHEME = Scheme.parse("adience8")
YOUNGEST = np.array([low for low, _ in SCHEME.bounds])


def groups(logits: np.ndarray) -> Answers:
    return Answers(softmax(logits), SCHEME, knows_years=False)


def drawn(true_temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and ages drawn from their softmax at a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(20_000, 8)) * 3
    chances = softmax(logits, true_temperature)
    groups = (chances.cumsum(axis=1) > random.random((len(chances), 1))).argmax(axis=1)
    return logits, YOUNGEST[groups]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_the_data_has_is_found(temperature: float):
    logits, ages = drawn(temperature)
    assert fit_temperature(groups(logits), ages) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_minimum_that_scipy_finds():
    logits, ages = drawn(1.7)
    truth = SCHEME.groups_of(ages)

    def loss(t: float) -> float:
        return -log_softmax(logits / t, axis=1)[np.arange(len(truth)), truth].mean()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(groups(logits), ages) == pytest.approx(best.x, rel=1e-5)


def test_gap_ages_count_for_nothing():
    logits, ages = drawn(1.7)
    wrong = np.concatenate([ages, np.full(500, 22)])
    more = np.concatenate([logits, np.full((500, 8), 9.0)])
    assert fit_temperature(groups(more), wrong) == fit_temperature(groups(logits), ages)
    assert fit_temperature(groups(logits[:3]), np.array([22, 23, 3])) == 1.0


def test_distributions_over_years_are_scaled_before_they_are_summed():
    random = np.random.default_rng(1)
    logits = random.normal(size=(5_000, YEARS)) * 2
    chances = softmax(logits, 1.5)
    ages = (chances.cumsum(axis=1) > random.random((len(chances), 1))).argmax(axis=1)
    years = Answers(softmax(logits), SCHEME, knows_years=True)
    assert fit_temperature(years, ages) == pytest.approx(1.5, rel=0.05)


def test_rescaling_is_what_the_logits_would_give():
    logits = np.random.default_rng(2).normal(size=(50, 8)) * 4
    np.testing.assert_allclose(rescale(softmax(logits), 1.8), softmax(logits, 1.8), rtol=1e-9)


def blurred(truth: np.ndarray, spread: float, prior: np.ndarray) -> np.ndarray:
    """Return the posterior (N, 8) of groups seen through noise of so many groups."""
    seen = truth + np.random.default_rng(3).normal(size=len(truth)) * spread
    likelihood = np.exp(-0.5 * ((seen[:, None] - np.arange(8)) / spread) ** 2)
    posterior = likelihood * prior
    return posterior / posterior.sum(axis=1, keepdims=True)


def test_where_all_rules_are_alike_the_simplest_is_taken():
    truth = np.repeat(np.arange(8), 50)
    sure = Answers(np.eye(8)[truth], SCHEME, knows_years=False)
    assert fit_decision(sure, YOUNGEST[truth]) is LIKELIEST
    assert fit_decision(sure, np.full(len(truth), 22)) is LIKELIEST  # gap ages alone


def test_a_model_that_passes_over_rare_groups_is_adjusted_as_far_as_that_is_cheap():
    shares = np.array([0.02, 0.03, 0.05, 0.1, 0.6, 0.1, 0.05, 0.05])
    truth = np.random.default_rng(4).choice(8, size=4000, p=shares)
    chances = blurred(truth, 1.0, shares)
    rule = fit_decision(Answers(chances, SCHEME, knows_years=False), YOUNGEST[truth])
    assert rule.rule == "adjusted" and 0 < rule.tau < 1
    np.testing.assert_allclose(rule.shares, shares, atol=0.02)
    plain, decided = chances.argmax(axis=1), rule.decide(chances)
    every = np.arange(len(truth))
    assert (plain == truth).mean() - (decided == truth).mean() <= MOST_LOST
    assert (chances[every, plain] - chances[every, decided]).mean() <= MOST_LOST
    gained = [f1_score(truth, answer, average="macro") for answer in (plain, decided)]
    assert gained[1] > gained[0]


def test_a_model_whose_answers_lie_to_both_sides_of_the_truth_takes_the_median():
    truth = np.random.default_rng(5).integers(1, 7, size=2000)
    parts = [p * np.eye(8)[truth + n] for p, n in ((0.334, -1), (0.332, 0), (0.334, 1))]
    answers = Answers(sum(parts), SCHEME, knows_years=False)
    assert fit_decision(answers, YOUNGEST[truth]) == MEDIAN


def test_a_lucky_draw_does_not_hide_what_a_rule_costs():
    """The median is always right here, and by the probabilities in 28 of 100 cases."""
    truth = np.random.default_rng(5).integers(1, 7, size=2000)
    parts = [p * np.eye(8)[truth + n] for p, n in ((0.36, -1), (0.28, 0), (0.36, 1))]
    answers = Answers(sum(parts), SCHEME, knows_years=False)
    assert (MEDIAN.decide(answers.groups) == truth).all()
    assert fit_decision(answers, YOUNGEST[truth]) == LIKELIEST


def test_a_dear_rule_is_not_taken():
    """Full adjustment would win macro-F1 and cost a tenth of the accuracy."""
    truth = np.repeat([4, 5], [900, 100])
    chances = np.zeros((1000, 8))
    chances[:, 4:6] = 0.8, 0.2
    chances[900:, 4:6] = 0.7, 0.3
    chances[:200, 4:6] = 0.69, 0.31  # no rule tells these from the rare group
    answers = Answers(chances, SCHEME, knows_years=False)
    rule = fit_decision(answers, YOUNGEST[truth])
    assert (rule.decide(chances) == 4).all()


def test_the_rule_is_fitted_to_calibrated_probabilities():
    logits, ages = drawn(1.7)
    fitted = calibrate(METADATA, groups(logits), [groups(logits)] * 2, groups(logits), ages)
    assert fitted.temperature == fit_temperature(groups(logits), ages)
    calibrated = Answers(softmax(logits, fitted.temperature), SCHEME, knows_years=False)
    assert fitted.decision == fit_decision(calibrated, ages)
    sets = fit_sets([calibrated] * 3, replace(calibrated, decision=fitted.decision), ages)
    np.testing.assert_allclose(fitted.sets.groups, sets.groups)
    np.testing.assert_allclose(fitted.sets.own, sets.own)
    assert fitted.sets.largest_entropy == pytest.approx(sets.largest_entropy)


def test_sets_cover_as_many_new_images_as_they_promise():
    (logits, ages), (fresh, new) = drawn(1.7), drawn(1.7, seed=1)
    sets = fit_sets(
        [groups(logits)] * 3, groups(logits), ages
    )  # sharper than the truth: it does not matter
    truth = SCHEME.groups_of(new)
    for coverage in COVERAGES:
        answers = replace(groups(fresh), sets=sets)
        low, high = answers.limits(200, coverage).groups.T
        assert ((low <= truth) & (truth <= high)).mean() > coverage - 0.01
    own = group_scores(groups(fresh).groups, sets.shares)[np.arange(len(truth)), truth]
    shares = [(own <= threshold).mean() for threshold in sets.groups[2]]
    assert shares == pytest.approx(COVERAGES, abs=0.01)


def test_years_cover_as_many_new_images_as_they_promise():
    random = np.random.default_rng(3)
    true = random.integers(5, 96, size=(2, 4000))
    told = np.clip(
        true + random.normal(0, 8, size=true.shape), 5, 95
    )  # by a model that is too sure
    first, second = (Answers(label_distribution(one), SCHEME, knows_years=True) for one in told)
    sets = fit_sets([first] * 3, first, true[0])
    for coverage in COVERAGES:
        low, high = replace(second, sets=sets).limits(200, coverage).years.T
        covered = ((low <= true[1]) & (true[1] <= high)).mean()
        assert covered == pytest.approx(coverage, abs=0.02)


def test_few_images_promise_nothing_they_cannot_hold():
    """Nine images bound the tenth with 90 %, and with no more."""
    logits, ages = drawn(1.0)
    sets = fit_sets([groups(logits[:9])] * 3, groups(logits[:9]), ages[:9])
    low, middle, high = sets.groups[0]
    assert low <= middle < high == 1
    few = groups(logits[:3])
    assert fit_sets([few] * 3, few, np.array([22, 23, 3])) is None


def test_a_group_that_is_hard_to_cover_has_a_threshold_of_its_own():
    """The model seldom tells the group 0-2, and the promise for all images leaves it out.

    Of the group 60+ there are too few images for a threshold.
    """
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(8), [600, *[2000] * 6, 50])
    logits = 3 * np.eye(8)[truth] + random.normal(size=(len(truth), 8))
    logits[:, 0] -= 2
    first, new = groups(logits[::2]), groups(logits[1::2])
    sets = fit_sets([first] * 3, first, YOUNGEST[truth[::2]])
    assert (np.array(sets.own[0]) > sets.groups[2]).all()
    assert sets.own[7] == (0, 0, 0)

    def covered(sets: Sets) -> float:
        """Return how often a set holds 0-2 where it is true."""
        low, _ = replace(new, sets=sets).limits(200, 0.9).groups.T
        return (low == 0)[truth[1::2] == 0].mean()

    assert covered(replace(sets, own=())) < 0.8 and covered(sets) >= 0.88


def test_ranges_have_no_years_to_fit():
    ranges = np.tile([25, 32], (50, 1))
    known = Answers(label_distribution(np.full(50, 29)), SCHEME, knows_years=True)
    assert fit_sets([known] * 3, known, ranges).years is None


def test_unsure_is_what_is_right_less_often_than_the_majority():
    """8 of 10 in the confident half are right, 3 of 10 in the rest; 6 of 10 are of one group."""
    truth = np.repeat([4, 5, 4, 5], [300, 200, 300, 200])
    right = np.arange(1000) % 10 < np.repeat([8, 3], 500)
    answer = np.where(right, truth, 7)
    chances = np.repeat([0.1 / 7, 0.5 / 7], 500)[:, None].repeat(8, axis=1)
    chances[np.arange(1000), answer] = np.repeat([0.9, 0.5], 500)
    perturbed = Answers(chances, SCHEME, knows_years=False)
    sets = fit_sets([perturbed] * 3, perturbed, YOUNGEST[truth])
    np.testing.assert_array_equal(sets.sure(perturbed), np.repeat([True, False], 500))
    always = replace(perturbed, distribution=np.eye(8)[truth])
    all_right = fit_sets([always] * 3, always, YOUNGEST[truth])
    assert all_right.largest_entropy is None and all_right.sure(perturbed).all()
