"""Rules by which a group is answered, against costs and priors worked out by hand."""

import numpy as np
import pytest

from agecli.ages import Answers, Scheme
from agecli.decision import LIKELIEST, MEDIAN, Decision, between, check_decision

ADIENCE = Scheme.parse("adience8")
GROUPS = ADIENCE.labels
RANDOM = np.random.default_rng(0).dirichlet(np.ones(8), size=500)  # (500, 8)


def chances(**groups: float) -> np.ndarray:
    """Return the probabilities (8,) of groups, named by their first year: y25=0.6."""
    firsts = [f"y{low}" for low, _ in ADIENCE.bounds]
    return np.array([groups.get(first, 0.0) for first in firsts])


def test_the_likeliest_is_the_most_probable():
    np.testing.assert_array_equal(LIKELIEST.decide(RANDOM), RANDOM.argmax(axis=1))


def test_the_median_errs_by_the_fewest_groups():
    distance = np.abs(np.arange(8)[:, None] - np.arange(8))  # (answered, true)
    expected = (RANDOM[:, None] * distance).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(MEDIAN.decide(RANDOM), expected)


def test_a_mean_of_rounded_probabilities_has_a_median():
    assert MEDIAN.decide(np.array([[0.0, 0.0, 0.0, 0.4999]])).tolist() == [3]
    assert MEDIAN.decide(np.array([[0.5, 0.0, 0.5]])).tolist() == [0]


def test_full_adjustment_answers_as_if_groups_were_equally_frequent():
    """Bayes: with shares as prior, likelihood is proportional to probability over share."""
    shares = (0.7, 0.2, 0.1)
    rule = Decision("adjusted", 1.0, shares)
    likelihoods = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    joint = likelihoods * shares
    posterior = joint / joint.sum(axis=1, keepdims=True)
    assert posterior.argmax(axis=1).tolist() == [0, 0, 0]
    assert rule.decide(posterior).tolist() == [1, 0, 2]
    assert Decision("adjusted", 0.0, shares).decide(posterior).tolist() == [0, 0, 0]


def test_the_rule_changes_nothing_but_the_group():
    answers = Answers(RANDOM, ADIENCE, False, MEDIAN)
    assert answers.groups is RANDOM
    np.testing.assert_array_equal(answers.decided, MEDIAN.decide(RANDOM))
    assert (answers.decided != Answers(RANDOM, ADIENCE, False).decided).any()


@pytest.mark.parametrize(
    ("said", "age", "group", "groups", "torn"),
    [(chances(y25=0.7, y38=0.3), 29.0, "25-32", None, False),
     (chances(y25=0.6, y38=0.4), 36.8, "25-32", ("25-32", "38-43"), False),
     (chances(y25=0.6, y38=0.4), 37.4, "38-43", ("25-32", "38-43"), False),
     # 38 is where 38-43 begins, and no gap any more; the likeliest is not there.
     (chances(y25=0.6, y38=0.4), 37.6, "38-43", ("25-32", "38-43"), True),
     (chances(y25=0.4, y38=0.2, y48=0.4), 40.0, "38-43", ("25-32", "38-43"), True),
     (chances(y15=0.4, y25=0.3, y38=0.3), 30.0, "38-43", ("15-20", "38-43"), True),
     (chances(y25=0.6, y38=0.4), 40.0, "25-32", ("25-32", "38-43"), True),
     (chances(y8=0.6, y60=0.4), 36.0, "8-13", ("8-13", "38-43"), True),
     (chances(y25=0.6, y38=0.4), None, "25-32", None, False),
     (chances(y25=0.6, y38=0.4), None, "38-43", ("25-32", "38-43"), True),
     (chances(y60=1.0), 100.0, "60+", None, False)],
)  # fmt: skip
def test_between(
    said: np.ndarray, age: float | None, group: str, groups: tuple[str, str] | None, torn: bool
):
    found, is_torn = between(said, age, GROUPS.index(group), ADIENCE)
    assert (found and (GROUPS[found[0]], GROUPS[found[1]]), is_torn) == (groups, torn)


def test_ages_outside_all_groups_are_next_to_the_outer_ones():
    scheme = Scheme.parse("10-19,30-39")
    assert between(np.array([0.9, 0.1]), 5.0, 0, scheme) == (None, False)
    assert between(np.array([0.1, 0.9]), 70.0, 1, scheme) == (None, False)
    assert between(np.array([0.9, 0.1]), 70.0, 0, scheme) == ((0, 1), True)


@pytest.mark.parametrize(
    "decision", [Decision("adjusted", 0.5, (0.5, 0.5)), Decision("median", 0, (0.1,) * 3)]
)
def test_shares_of_other_groups_are_refused(decision: Decision):
    with pytest.raises(ValueError, match="shares"):
        check_decision(decision, 3)
