"""Schemes and distributions against hand-worked cases and scipy's normal density."""

import numpy as np
import pytest
from scipy.stats import norm

from agecli.ages import (
    NO_GROUP,
    YEARS,
    Answers,
    Scheme,
    label_distribution,
    median_ages,
    outputs_of,
    softmax,
    sum_years,
    years_of,
)
from agecli.errors import UsageError

ADIENCE = Scheme.parse("adience8")


@pytest.mark.parametrize(
    ("age", "group"),
    [(0, 0), (2, 0), (4, 1), (13, 2), (20, 3), (25, 4), (43, 5), (53, 6), (60, 7), (116, 7)],
)
def test_an_age_has_its_adience_group(age, group):
    assert ADIENCE.groups_of([age]).tolist() == [group]


@pytest.mark.parametrize("age", [3, 7, 14, 21, 24, 33, 37, 44, 47, 54, 59])
def test_a_gap_age_has_no_group(age):
    assert ADIENCE.groups_of([age]).tolist() == [NO_GROUP]


@pytest.mark.parametrize(
    ("age", "group"),
    [(3, 0), (7, 1), (14, 2), (22, 3), (23, 4), (35, 4), (36, 5), (56, 6), (57, 7)],
)
def test_the_nearest_group_of_a_gap_age_and_the_younger_of_two(age, group):
    assert ADIENCE.nearest_groups([age]).tolist() == [group]


@pytest.mark.parametrize("text", ["adience8", "decades", "5-9,40,90-100"])
def test_the_groups_of_ranges_are_those_that_counting_their_years_finds(text):
    scheme = Scheme.parse(text)
    ranges = [(low, high) for low in range(0, 121, 3) for high in range(low, 121)]
    found = scheme.groups_of(ranges), scheme.nearest_groups(ranges), scheme.years_inside(ranges)
    for (low, high), group, nearest, inside in zip(ranges, *found, strict=True):
        years = [min(low, 100), *range(low + 1, min(high, 100) + 1)]
        counts = [sum(a <= year <= b for year in years) for a, b in scheme.bounds]
        most = max(counts)
        assert group == (counts.index(most) if 2 * most > len(years) else NO_GROUP)
        assert inside.tolist() == counts
        if most:
            assert nearest == counts.index(most)


def test_a_range_in_no_group_is_near_to_the_group_nearest_to_its_middle():
    assert ADIENCE.nearest_groups([(21, 22), (22, 24), (33, 37), (33, 36)]).tolist() == [3, 4, 4, 4]


def test_a_range_of_one_year_is_that_year():
    years = np.arange(121)
    labels = np.stack([years, years], axis=1)
    for of in (ADIENCE.groups_of, ADIENCE.nearest_groups, ADIENCE.years_inside):
        np.testing.assert_array_equal(of(labels), of(years))


def test_only_a_year_has_years():
    np.testing.assert_array_equal(years_of([(3, 3), (3, 9), (60, 120)]), [3, np.nan, np.nan])
    np.testing.assert_array_equal(years_of([3, 9]), [3, 9])


def test_where_groups_adjoin_the_nearest_is_an_ages_own():
    for text in ("decades", "0-17,18+", "0,1,2-5,6+"):
        scheme, ages = Scheme.parse(text), np.arange(121)
        assert scheme.nearest_groups(ages).tolist() == scheme.groups_of(ages).tolist()


@pytest.mark.parametrize("text", ["adience8", "decades", "0-2,4-6,8-13", "0-17, 18+", "5,6-100"])
def test_labels_parse_to_the_scheme_they_came_from(text):
    scheme = Scheme.parse(text)
    assert Scheme.parse(scheme.labels) == scheme == Scheme.parse(",".join(scheme.labels))


def test_the_last_group_is_open_where_it_reaches_a_hundred():
    assert Scheme.parse("0-5,60-100").labels == ["0-5", "60+"]
    assert Scheme.parse(["7", "60-99"]).labels == ["7-7", "60-99"]
    assert ADIENCE.bounds[-1] == (60, 100) and len(ADIENCE) == 8
    assert len({ADIENCE, Scheme.parse(ADIENCE.labels), Scheme.parse("decades")}) == 2


def test_decades_leave_no_gap():
    groups = Scheme.parse("decades").groups_of(np.arange(121))
    assert groups.tolist() == [min(age // 10, 7) for age in range(121)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "teenagers",
        "0-2",
        "0-2,",
        "4-6,0-2",
        "0-5,5-9",
        "9-3,10+",
        "0-2,60-101",
        "60+,70+",
        "-1-3,5",
    ],
)
def test_a_bad_scheme_is_refused_by_its_option(text):
    with pytest.raises(UsageError, match="--scheme"):
        Scheme.parse(text)


def test_label_distribution_is_a_normal_density_wider_for_older_ages():
    rows = label_distribution([4, 50])
    for row, age in zip(rows, (4, 50), strict=True):
        density = norm.pdf(np.arange(YEARS), age, 0.6 + 0.06 * age)
        np.testing.assert_allclose(row, density / density.sum(), atol=1e-6)
    assert rows[0].max() > 3 * rows[1].max()


def test_label_distribution_counts_ages_over_a_hundred_as_a_hundred():
    old = label_distribution([116])
    assert old.argmax() == 100
    np.testing.assert_allclose(old.sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(old, label_distribution([100]))


def test_group_probabilities_sum_years_and_leave_gap_ages_out():
    years = np.zeros((1, YEARS))
    years[0, [1, 2, 3, 30]] = 0.1, 0.2, 0.4, 0.3  # 3 is a gap age
    expected = [0.3 / 0.6, 0, 0, 0, 0.3 / 0.6, 0, 0, 0]
    np.testing.assert_allclose(Answers(years, ADIENCE, True).groups[0], expected, atol=1e-9)


def test_each_row_is_renormalised_by_itself():
    years = np.zeros((2, YEARS))
    years[0, [1, 3]], years[1, [5, 12, 22]] = (0.5, 0.5), (0.1, 0.3, 0.6)
    expected = [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0.25, 0.75, 0, 0, 0, 0, 0]]
    np.testing.assert_allclose(Answers(years, ADIENCE, True).groups, expected, atol=1e-9)


def test_group_probabilities_are_finite_where_all_lies_on_gap_ages():
    years = np.zeros((1, YEARS))
    years[0, 22] = 1
    np.testing.assert_allclose(Answers(years, ADIENCE, True).groups[0], np.full(8, 1 / 8))


def test_group_probabilities_of_groups_are_themselves():
    groups = softmax(np.arange(8.0)[None])
    assert Answers(groups, ADIENCE, False).groups is groups
    assert Answers(groups, ADIENCE, False).ages is None


def test_a_scheme_of_as_many_groups_as_years_is_not_a_distribution_over_years():
    scheme = Scheme.parse(",".join(map(str, range(100))) + ",100+")
    assert len(scheme) == YEARS
    chances = np.random.default_rng(0).dirichlet(np.ones(YEARS), 4)
    assert Answers(chances, scheme, False).groups is chances
    assert Answers(chances, scheme, False).ages is None
    years = Answers(chances, scheme, True)
    np.testing.assert_allclose(years.groups, chances, atol=1e-9)
    assert years.ages is not None and years.ages.shape == (4,)


def test_numpy_and_torch_answer_the_same():
    torch = pytest.importorskip("torch")
    years = np.random.default_rng(0).dirichlet(np.full(YEARS, 0.1), 50)
    matrix = ADIENCE.year_matrix().astype(float)
    for function, more in [(sum_years, [matrix]), (median_ages, [])]:
        theirs = function(torch.from_numpy(years), *map(torch.from_numpy, more)).numpy()
        np.testing.assert_allclose(function(years, *more), theirs, rtol=1e-12)


def test_the_age_is_the_median():
    years = np.zeros((3, YEARS))
    years[0, [20, 40]] = 0.25, 0.75  # a third of 40 reaches the half
    years[1, [0, 100]] = 0.8, 0.2
    years[2, 61] = 1
    assert median_ages(years).tolist() == pytest.approx([39.5 + 1 / 3, -0.5 + 0.5 / 0.8, 61])


def test_no_other_age_errs_less_in_years():
    """The error expected of an answer is lowest at the median, by trying all answers."""
    years = np.random.default_rng(0).dirichlet(np.full(YEARS, 0.1), 50)
    answers, lived = np.arange(0, 100, 0.1), (np.arange(YEARS * 10) + 0.5) / 10 - 0.5
    chances = np.repeat(years / 10, 10, axis=1)  # a year in tenths
    errors = chances @ np.abs(lived[:, None] - answers)  # (50, answers)
    assert answers[errors.argmin(axis=1)] == pytest.approx(median_ages(years), abs=0.1)


def test_softmax_survives_large_logits_and_flattens_with_temperature():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4 - np.log(3)]])), [[0.75, 0.25]])
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]])), [[1, 0]])
    np.testing.assert_allclose(softmax(np.array([[np.log(9), 0.0]]), 2.0), [[0.75, 0.25]])


def test_softmax_is_of_each_row():
    np.testing.assert_allclose(softmax(np.log([[1, 3], [2, 2], [9, 1]])),
                               [[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])  # fmt: skip


def test_outputs_are_groups_or_years():
    names = ("groups", "margin", "ages", "both")
    assert [outputs_of(name, ADIENCE) for name in names] == [8, 8, 101, 101]
