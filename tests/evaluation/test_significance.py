"""Intervals, tests and slices against scipy, and against hand-worked cases."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from agecli.ages import Scheme
from agecli.evaluation.significance import bootstrap_interval, compare, mcnemar, slices, worst_slice

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
    pairs = compare(["good", "worse", "alike"], [good, worse, alike])
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("good", "worse"), ("good", "alike"), ("worse", "alike")
    ]  # fmt: skip
    assert pairs[0].difference == pytest.approx(good.mean() - worse.mean())
    assert pairs[0].interval[0] > 0 and pairs[0].p < 1e-6
    assert pairs[1].interval[0] <= 0 <= pairs[1].interval[1] and pairs[1].p >= 0.5


def test_slices_are_the_figures_of_their_images_alone():
    ages = np.array([1] * 40 + [28] * 40 + [22] * 5 + [70] * 3)
    answers = np.array([0] * 30 + [2] * 10 + [4] * 40 + [4] * 5 + [7] * 3)
    sex = np.array(["male"] * 20 + ["female"] * 60 + ["male"] * 5 + [""] * 3)
    found = {(s["by"], s["value"]): s for s in slices(answers, ages, SCHEME, {"sex": sex})}
    assert list(found) == [("sex", "female"), ("sex", "male"), ("age group", "0-2"),
                           ("age group", "25-32"), ("age group", "60+")]  # fmt: skip
    assert found["age group", "0-2"] | {"interval": 0} == {
        "by": "age group", "value": "0-2", "n": 40, "exact": 0.75, "one_off": 0.75, "bias": 0.5,
        "interval": 0,
    }  # fmt: skip
    assert found["sex", "male"]["n"] == 20  # a gap age is in no group
    assert found["sex", "male"]["exact"] is None  # and 20 are too few
    worst = worst_slice(list(found.values()))
    assert worst and worst["value"] == "0-2"
    assert worst_slice([]) is None
