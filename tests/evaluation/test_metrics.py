"""The figures against scikit-learn where it has them, and against hand-worked cases."""

import json

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    precision_recall_fscore_support,
)

from agecli.ages import Scheme
from agecli.evaluation import metrics

SCHEME = Scheme.parse("adience8")


def _random(seed, groups=8, n=400):
    rng = np.random.default_rng(seed)
    truth = rng.integers(groups, size=n)
    return truth, np.clip(truth + rng.integers(-2, 3, size=n), 0, groups - 1)


def _probabilities(answer, groups=8):
    return np.eye(groups)[answer]


@pytest.mark.parametrize("seed", range(3))
def test_group_figures_equal_scikit_learns(seed):
    truth, answer = _random(seed)
    confusion = metrics.confusion_matrix(truth, answer, 8)
    figures = metrics.group_figures(confusion)
    precision, recall, f1, support = precision_recall_fscore_support(truth, answer, zero_division=0)

    assert np.array_equal(confusion, confusion_matrix(truth, answer))
    assert metrics.exact_accuracy(confusion) == pytest.approx(accuracy_score(truth, answer))
    np.testing.assert_allclose(figures["precision"], precision)
    np.testing.assert_allclose(figures["recall"], recall)
    np.testing.assert_allclose(figures["f1"], f1)
    assert np.array_equal(confusion.sum(axis=1), support)
    assert metrics.macro_f1(confusion) == pytest.approx(f1_score(truth, answer, average="macro"))


@pytest.mark.parametrize("seed", range(3))
def test_quadratic_kappa_equals_scikit_learns(seed):
    truth, answer = _random(seed)
    confusion = metrics.confusion_matrix(truth, answer, 8)
    expected = cohen_kappa_score(truth, answer, weights="quadratic")
    assert metrics.quadratic_kappa(confusion) == pytest.approx(expected)
    assert metrics.quadratic_kappa(np.diag([3, 4])) == 1
    assert metrics.quadratic_kappa(np.diag([3, 0])) == 0


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    # Four images are answered with 0.95 and three of them right, two with 0.55 and both right.
    probabilities = np.array([[0.95, 0.05]] * 4 + [[0.45, 0.55]] * 2)
    truth = np.array([0, 0, 0, 1, 1, 1])
    gap = (4 * abs(0.95 - 0.75) + 2 * abs(0.55 - 1)) / 6
    assert metrics.calibration_error(probabilities, truth) == pytest.approx(gap)
    images, confidence, accuracy = metrics.calibration_bins(probabilities, truth, bins=10)
    assert images.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert confidence[9] == pytest.approx(0.95) and accuracy[9] == 0.75
    assert metrics.calibration_bins(np.eye(2), np.array([0, 1]), bins=10)[0][9] == 2
    _, confidence, accuracy = metrics.calibration_bins(probabilities[3:], truth[3:], bins=10)
    assert confidence[9] == pytest.approx(0.95) and accuracy[9] == 0  # of one image
    assert metrics.calibration_error(np.zeros((0, 2)), np.array([], int)) == 0


@pytest.mark.parametrize(
    ("truth", "answer"),
    [
        ([0, 0, 2], [0, 2, 2]),  # group 1 occurs nowhere
        ([0, 0, 2], [1, 1, 2]),  # group 1 is answered and never true, group 0 never answered
        ([0], [2]),
    ],
)
def test_absent_groups_count_as_in_scikit_learn(truth, answer):
    confusion = metrics.confusion_matrix(np.array(truth), np.array(answer), 4)
    figures = metrics.group_figures(confusion)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, answer, labels=range(4), zero_division=0
    )
    np.testing.assert_allclose(figures["precision"], precision)
    np.testing.assert_allclose(figures["recall"], recall)
    np.testing.assert_allclose(figures["f1"], f1)
    assert metrics.macro_f1(confusion) == pytest.approx(
        f1_score(truth, answer, average="macro", zero_division=0)
    )


def test_one_off_counts_neighbours_on_both_sides():
    confusion = metrics.confusion_matrix(
        np.array([1, 1, 1, 1, 0, 3]), np.array([0, 1, 2, 3, 3, 0]), 4
    )
    assert metrics.one_off_accuracy(confusion) == 3 / 6


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        (0.5, 100, 0.4038, 0.5962),  # Brown, Cai and DasGupta 2001: (X + z²/2) / (n + z²) ± ...
        (0.0, 10, 0.0, 0.2775),
        (1.0, 10, 0.7225, 1.0),
        (0.0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval(share, n, low, high):
    assert metrics.wilson_interval(share, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_solves_the_score_equation():
    """Its ends are the shares p for which the observed one is 1.96 standard errors away."""
    for end in metrics.wilson_interval(0.72, 1650):
        assert abs(0.72 - end) / np.sqrt(end * (1 - end) / 1650) == pytest.approx(1.95996, abs=1e-4)


def test_errors_in_years():
    truth, answer = np.array([10, 20, 30, 116]), np.array([15.0, 14.9, 30.0, 100.0])
    assert metrics.mean_absolute_error(truth, answer) == mean_absolute_error(truth, answer)
    assert metrics.cumulative_score(truth, answer) == 2 / 4  # 5 years off still counts


def test_score_leaves_gap_ages_out_of_groups_but_not_of_years():
    ages = np.array([1, 5, 28, 28, 22, 14])  # the last two are in no group
    answer = np.array([0, 0, 4, 2, 4, 3])
    answered = np.array([1.0, 2.0, 28.0, 12.0, 24.0, 14.0])

    scores = metrics.score(_probabilities(answer), ages, SCHEME, answered)

    assert scores.n == 4 and scores.n_ages == 6
    assert scores.exact == 2 / 4
    assert scores.one_off == 3 / 4
    assert scores.majority == 2 / 4 and scores.majority_group == "25-32"
    assert scores.mae == pytest.approx((3 + 16 + 2) / 6)
    assert scores.cs5 == 5 / 6
    assert scores.per_group["25-32"] == metrics.GroupScores(2, 1.0, 0.5, pytest.approx(2 / 3))
    assert scores.per_group["60+"] == metrics.GroupScores(0, 0, 0, 0)
    assert np.sum(scores.confusion) == 4 and scores.confusion[4][2] == 1
    low, high = scores.exact_interval
    assert low < scores.exact < high
    assert scores.nearest == 2 / 6  # 22 is nearest to 15-20, 14 to 8-13
    assert scores.ece == pytest.approx(1 - 2 / 4)  # all answers are sure


def test_a_range_has_a_group_where_most_of_it_lies_in_one_but_no_year():
    ages = np.array([(1, 1), (24, 33), (20, 35), (60, 120), (22, 22)])
    answer, told = np.array([0, 4, 4, 6, 3]), np.array([3.0, 28, 28, 70, 20])
    scores = metrics.score(_probabilities(answer), ages, SCHEME, told)
    assert (scores.n, scores.exact) == (3, 2 / 3)  # 0-2, 25-32, and 60+, which was missed
    assert scores.confusion[7][6] == 1 and scores.per_group["25-32"].n == 1
    assert (scores.n_ages, scores.mae, scores.cs5) == (2, 2.0, 1.0)  # of 1 and of 22
    assert scores.nearest == 1

    ranges = metrics.score(_probabilities(answer[1:4]), ages[1:4], SCHEME, told[1:4])
    assert ranges.mae is ranges.cs5 is ranges.n_ages is ranges.nearest is None
    assert (ranges.n, ranges.exact) == (2, 1 / 2)


def test_all_figures_are_of_the_images_with_a_group():
    """Against scikit-learn, on answers of which a quarter is for gap ages."""
    rng = np.random.default_rng(5)
    ages, chances = rng.integers(0, 116, 600), rng.dirichlet(np.ones(8), 600)
    scores = metrics.score(chances, ages, SCHEME)
    known = SCHEME.groups_of(ages) >= 0
    truth, answer = SCHEME.groups_of(ages)[known], chances.argmax(axis=1)[known]
    assert (scores.n, scores.n_ages) == (known.sum(), None) and 300 < known.sum() < 550
    assert scores.exact == pytest.approx(accuracy_score(truth, answer))
    assert scores.one_off == pytest.approx(np.mean(np.abs(truth - answer) <= 1))
    assert scores.macro_f1 == pytest.approx(f1_score(truth, answer, average="macro"))
    assert scores.kappa == pytest.approx(cohen_kappa_score(truth, answer, weights="quadratic"))
    assert scores.majority == pytest.approx(np.bincount(truth).max() / len(truth))
    assert scores.confusion == confusion_matrix(truth, answer).tolist()
    sure, gaps = chances[known].max(axis=1), 0.0
    for low in np.arange(15) / 15:
        here = (sure > low) & (sure <= low + 1 / 15)
        gaps += abs(sure[here].sum() - (truth == answer)[here].sum())
    assert scores.ece == pytest.approx(gaps / len(truth))
    away = [np.maximum(low - ages, np.minimum(ages, 100) - high) for low, high in SCHEME.bounds]
    nearest = np.argmin(away, axis=0)
    assert scores.nearest == pytest.approx(np.mean(chances.argmax(axis=1) == nearest))


def test_predictions_of_nan_are_in_the_first_bin_and_surest_ones_in_the_last():
    chances = np.array([[np.nan, np.nan], [1.0, 0.0], [0.5, 0.5]])
    images, _, right = metrics.calibration_bins(chances, np.array([0, 0, 1]))
    assert images.tolist() == [1, *[0] * 6, 1, *[0] * 6, 1]
    assert right[-1] == 1 and right[7] == 0


def test_score_is_plain_json():
    truth, answer = _random(0)
    ages = np.array([low for low, _ in SCHEME.bounds])[truth]
    scores = metrics.score(_probabilities(answer), ages, SCHEME, ages.astype(np.float32))
    plain = json.loads(json.dumps(scores.plain(), allow_nan=False))
    assert plain == scores.plain() and metrics.Scores.read(plain) == scores


def test_score_without_ages_has_no_errors_in_years():
    scores = metrics.score(_probabilities(np.array([0])), np.array([1]), SCHEME)
    assert not {"mae", "cs5", "n_ages"} & set(scores.plain())
    assert scores.mae is scores.cs5 is scores.n_ages is None


@pytest.mark.parametrize("ages", [[], [22, 23]])
def test_score_of_no_image_with_a_group_is_zero_not_an_error(ages):
    answer = np.zeros(len(ages), dtype=int)
    scores = metrics.score(_probabilities(answer), np.array(ages, dtype=int), SCHEME, answer * 1.0)
    assert (scores.n, scores.exact, scores.macro_f1, scores.majority) == (0, 0, 0, 0)
    assert scores.exact_interval == [0, 1]
    assert scores.nearest == (0 if ages else None)  # 22 and 23 are answered with 0-2
    assert (scores.kappa, scores.ece, scores.one_off) == (0, 0, 0)
    json.dumps(scores.plain(), allow_nan=False)
