"""Intervals, tests and slices against scipy, and against hand-worked cases."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from agecli.ages import Scheme
from agecli.evaluation.metrics import wilson_interval
from agecli.evaluation.significance import (
    Slice,
    bootstrap_interval,
    exact_difference,
    mcnemar,
    slices,
    worst_slice,
    years_difference,
)

SCHEME = Scheme.parse("adience8")


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_the_bootstrap_agrees_with_scipys(share: float):
    values = (np.random.default_rng(1).random(600) < share).astype(float)
    reference = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=3)
    np.testing.assert_allclose(
        bootstrap_interval(values), reference.confidence_interval, atol=0.004
    )
    assert bootstrap_interval(values) == bootstrap_interval(values)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (5, 12), (40, 21), (9, 9)])
def test_mcnemar_is_a_binomial_test_of_the_discordant(only_first: int, only_second: int):
    first = np.array([True] * 50 + [True] * only_first + [False] * only_second)
    second = np.array([True] * 50 + [False] * only_first + [True] * only_second)
    n = only_first + only_second
    expected = binomtest(only_first, n, 0.5).pvalue if n else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(second, first) == pytest.approx(expected)


def test_pairs_are_compared_on_the_same_images():
    random = np.random.default_rng(0)
    good = random.random(800) < 0.8
    worse = good & (random.random(800) < 0.9)
    alike = good.copy()
    alike[:2] = ~alike[:2]
    named = [("good", good), ("worse", worse), ("alike", alike)]
    pairs = [exact_difference((a, b), x, y) for (a, x), (b, y) in combinations(named, 2)]
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("good", "worse"), ("good", "alike"), ("worse", "alike")
    ]  # fmt: skip
    assert pairs[0].difference == pytest.approx(good.mean() - worse.mean())
    assert pairs[0].interval[0] > 0 and pairs[0].p < 1e-6
    assert [pair.verdict for pair in pairs] == [
        "good is better", "not told apart", "alike is better"
    ]  # fmt: skip
    assert pairs[1].interval[0] <= 0 <= pairs[1].interval[1] and pairs[1].p >= 0.5


def test_errors_in_years_are_compared_by_the_sign_test():
    random = np.random.default_rng(0)
    near, far = random.normal(0, 3, size=400), random.normal(0, 6, size=400)
    pair = years_difference(("near", "far"), near, far)
    loss = np.abs(near) - np.abs(far)
    assert pair.difference == pytest.approx(loss.mean())
    assert pair.p == pytest.approx(binomtest(int((loss < 0).sum()), 400, 0.5).pvalue)
    assert pair.interval[1] < 0 and pair.verdict == "near is better"
    assert years_difference(("far", "near"), far, near).verdict == "near is better"
    assert years_difference(("near", "itself"), near, near).p == 1


def test_slices_are_the_figures_of_their_images_alone():
    ages = np.array([1] * 40 + [28] * 40 + [22] * 5 + [70] * 3)
    answers = np.array([0] * 30 + [2] * 10 + [4] * 40 + [4] * 5 + [7] * 3)
    sex = np.array(["male"] * 20 + ["female"] * 60 + ["male"] * 5 + [""] * 3)
    found = {(s.by, s.value): s for s in slices(answers, ages, SCHEME, {"sex": sex})}
    assert list(found) == [("sex", "female"), ("sex", "male"), ("age group", "0-2"),
                           ("age group", "25-32"), ("age group", "60+")]  # fmt: skip
    youngest = found["age group", "0-2"]
    assert youngest == Slice("age group", "0-2", 40, 0.75, youngest.interval, 0.75, 0.5)
    assert youngest.interval == pytest.approx(wilson_interval(0.75, 40))
    # A gap age is in no group, and 20 images are too few.
    assert found["sex", "male"] == Slice("sex", "male", 20)
    worst = worst_slice(list(found.values()))
    assert worst and worst.value == "0-2"
    assert worst_slice([]) is None
