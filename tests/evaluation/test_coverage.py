"""Coverage and risk against counts made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from agecli.ages import Answers, Scheme
from agecli.evaluation.coverage import measure_coverage, risk_figures, risks
from agecli.sets import Sets

SCHEME = Scheme.parse("0-9,10-29,30-49,50+")
ROWS = ((0.8,) * 3,) * 3


def told(ages: list[int], likely: list[int], side: float = 200):
    """Measure the sets of a model that is sure of a group each."""
    answers = Answers(0.7 * np.eye(4)[likely] + 0.075, SCHEME, knows_years=False)
    answers = replace(answers, sets=Sets((0.25,) * 4, ROWS))
    columns = {"sex": np.array(["f", "m"] * len(ages))[: len(ages)]}
    return measure_coverage(answers, np.array(ages), columns, side, 0.9)


def test_what_is_covered_is_counted_in_all_and_by_part():
    found = told([5, 15, 35, 55] * 20, [0, 1, 2, 2] * 20)
    assert (found.whole.n, found.whole.coverage, found.whole.size) == (80, 0.75, 1)
    by_part = {(part.by, part.value): (part.n, part.coverage) for part in found.parts}
    assert by_part["sex", "f"] == (40, 1) and by_part["sex", "m"] == (40, 0.5)
    assert by_part["age group", "50+"] == (20, 0)
    assert (found.worst.by, found.worst.value) == ("sex", "m")  # the group has too few images
    assert found.figures() == {"coverage90": 0.75, "set_size90": 1}
    low, high = found.worst.interval
    assert low < 0.5 < high


def test_years_are_counted_beside_groups():
    years = np.zeros((5, 101))
    years[:, 20:41] = 1 / 21
    sets = Sets((0.25,) * 4, ROWS, ((0.5,) * 3,) * 3)
    answers = Answers(years, SCHEME, knows_years=True, sets=sets)
    low, high = answers.limits(200).years[0]
    ages = np.array([[low, low], [high, high], [high + 1, high + 1], [30, 39], [99, 99]])
    found = measure_coverage(answers, ages, {}, 200, 0.9)
    assert (found.years, found.width) == (0.5, high - low + 1)  # a range is no year
    assert found.figures()["years_width90"] == high - low + 1


def test_without_sets_nothing_is_measured():
    answers = Answers(np.eye(4), SCHEME, knows_years=False)
    assert measure_coverage(answers, np.array([5, 15, 35, 55]), {}, 200, 0.9) is None


def test_the_risk_of_the_surest_is_a_running_share_of_wrong_answers():
    sure, right = np.array([0.2, 0.9, 0.6, 0.4]), np.array([False, True, True, False])
    np.testing.assert_allclose(risks(sure, right), [0, 0, 1 / 3, 1 / 2])
    figures = risk_figures(sure, right)
    assert figures == {"aurc": pytest.approx((1 / 3 + 1 / 2) / 4), "exact_half": 1}
