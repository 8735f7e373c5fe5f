"""Age sets against thresholds and distributions worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from agecli.ages import Answers, Scheme
from agecli.sets import Sets, check_sets, group_scores, size_class, year_scores

SCHEME = Scheme.parse("0-9,10-29,30-49,50+")
ROW = (0.2, 0.5, 0.9)
SETS = Sets((0.25,) * 4, ((0.6, 0.9, 1.0), (0.5, 0.8, 1.0), ROW), ((0.9,) * 3, (0.7,) * 3, ROW))


def answers(*chances: float) -> Answers:
    return Answers(np.array([chances]), SCHEME, knows_years=False, sets=replace(SETS, years=None))


def test_a_group_is_in_where_it_is_probable_enough():
    likely = answers(0.05, 0.55, 0.3, 0.1)
    assert [likely.limits(200, coverage).groups.tolist() for coverage in (0.8, 0.9, 0.95)] == [
        [[1, 1]], [[1, 1]], [[1, 3]],
    ]  # fmt: skip


def test_a_set_has_no_gap_and_the_answer_in_it():
    chances = answers(0.55, 0.0, 0.0, 0.45)
    assert chances.limits(200, 0.95).groups.tolist() == [[0, 3]]
    torn = replace(answers(0.1, 0.75, 0.05, 0.1), sets=replace(SETS, years=None))
    decided = SETS.within(torn.groups, np.array([2]), 200, 0.9)
    assert decided.tolist() == [[1, 2]]


def test_a_group_with_a_higher_threshold_of_its_own_is_in_sooner():
    chances = answers(0.05, 0.55, 0.3, 0.1)
    own = ((1.0,) * 3, (0.1,) * 3, (0.75,) * 3, (0.0,) * 3)
    both = replace(chances, sets=replace(chances.sets, own=own))
    assert [both.limits(200, coverage).groups.tolist() for coverage in (0.8, 0.95)] == [
        [[0, 2]], [[0, 3]],
    ]  # fmt: skip


def test_an_answer_is_sure_up_to_an_entropy():
    spread = Answers(np.array([[0.5, 0.5, 0, 0], [0.25] * 4]), SCHEME, knows_years=False)
    assert replace(SETS, largest_entropy=0.7).sure(spread).tolist() == [True, False]
    assert replace(SETS, largest_entropy=0.69).sure(spread).tolist() == [False, False]  # ln 2
    assert SETS.sure(spread).all()


def test_rare_groups_are_weighed_as_if_they_were_frequent():
    """Bayes: likelihoods 1 : 2 under shares 9 : 1 are chances 9 : 2."""
    scores = group_scores(np.array([[9 / 11, 2 / 11]]), (0.9, 0.1))
    np.testing.assert_allclose(scores, [[2 / 3, 1 / 3]])


def test_small_faces_have_wider_sets():
    assert size_class([1, 47.9, 48, 95.9, 96, 3000]).tolist() == [0, 0, 1, 1, 2, 2]
    chances = answers(0.05, 0.55, 0.3, 0.1)
    assert [chances.limits(side, 0.8).groups.tolist() for side in (40, 60, 300)] == [
        [[1, 1]], [[1, 1]], [[1, 1]],
    ]  # fmt: skip
    assert [chances.limits(side, 0.9).groups.tolist() for side in (40, 60, 300)] == [
        [[1, 3]], [[1, 2]], [[1, 1]],
    ]  # fmt: skip
    both = Answers(np.repeat(chances.groups, 2, axis=0), SCHEME, False, sets=chances.sets)
    assert both.limits([40, 300], 0.9).groups.tolist() == [[1, 3], [1, 1]]


def test_years_lie_around_the_median_by_their_share():
    years = np.full((1, 101), 1 / 101)
    scores = year_scores(years)[0]
    assert scores[50] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(scores, np.abs(np.arange(101) - 50) / 50.5, atol=1e-12)
    known = Answers(years, SCHEME, knows_years=True, sets=SETS)
    assert known.limits(200, 0.8).years.tolist() == [[40, 60]]  # a fifth of them
    assert known.limits(200, 0.9).years.tolist() == [[25, 75]]


def test_the_median_is_in_however_narrow_the_distribution():
    narrow = np.zeros((1, 101))
    narrow[0, 30:32] = 0.5
    known = Answers(narrow, SCHEME, knows_years=True, sets=SETS)
    low, high = known.limits(200, 0.8).years[0]
    assert low <= 30.5 <= high


def test_a_model_without_years_has_sets_of_groups_alone():
    assert answers(0.1, 0.2, 0.3, 0.4).limits(200).years is None
    assert replace(answers(0.1, 0.2, 0.3, 0.4), sets=None).limits(200) is None


@pytest.mark.parametrize(
    ("sets", "years", "reason"),
    [
        (replace(SETS, shares=(0.5, 0.5)), True, "2 shares, not 4"),
        (SETS, False, "the model does not predict"),
        (replace(SETS, groups=((0.5, 0.4, 0.9), ROW, ROW)), True, "falls as the coverage rises"),
        (replace(SETS, years=((0.5, 0.4, 0.9), ROW, ROW)), True, "falls as the coverage rises"),
    ],
)
def test_what_cannot_be_is_refused(sets: Sets, years: bool, reason: str):
    with pytest.raises(ValueError, match=reason):
        check_sets(sets, 4, knows_years=years)
