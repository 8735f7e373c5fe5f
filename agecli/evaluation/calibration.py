"""Calibration on validation images, after training: temperature, decision rule, age sets.

The temperature is one number that makes probabilities match frequencies; the rule turns them
into one group, and the sets are the groups and years that are plausible as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agecli.ages import NO_GROUP, YEARS, Answers, FloatArray, IntArray, softmax, years_of
from agecli.decision import LIKELIEST, MEDIAN, Decision
from agecli.evaluation.metrics import confusion_matrix, macro_f1
from agecli.metadata import Metadata
from agecli.sets import COVERAGES, Row, Sets, entropies, group_scores, year_scores

LOWEST, HIGHEST = 0.05, 20.0
"""Range in which the best temperature is searched."""
TAUS = tuple(tenths / 10 for tenths in range(1, 11))
"""Strengths of logit adjustment that are tried; 1 treats groups as equally frequent."""
MOST_LOST = 0.005
"""Most exact accuracy that a rule may lose to gain macro-F1."""
RESAMPLES = 200
LEAST_OWN = 30
"""Fewest images of a group for its own thresholds of age sets."""


def rescale(distribution: FloatArray, temperature: float) -> FloatArray:
    """Return distributions (N, K) at another temperature.

    temperature: relative to the one that the distributions were computed with.
    """
    return softmax(_logits(distribution), temperature)


def fit_temperature(answers: Answers, ages: IntArray) -> float:
    """Return the temperature that maximises the likelihood of the true groups (Guo et al. 2017).

    answers: predictions for N images, at temperature 1; ages: (N,) or (N, 2), used if they have a
    group. The mean negative log-likelihood has one minimum for groups; it is found by Brent's
    method, on a logarithmic scale. Returns 1 if no image has a group.
    """
    from scipy.optimize import minimize_scalar

    truth = answers.scheme.groups_of(ages)
    known = truth != NO_GROUP
    if not known.any():
        return 1.0
    logits, truth = _logits(answers.distribution[known]), truth[known]

    def loss(log_temperature: float) -> float:
        scaled = softmax(logits, float(np.exp(log_temperature)))
        chances = replace(answers, distribution=scaled).groups
        return float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], 1e-300)).mean())

    bounds = np.log(LOWEST), np.log(HIGHEST)
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return float(np.exp(best.x))


def calibrate(
    metadata: Metadata,
    answers: Answers,
    smaller: Sequence[Answers],
    perturbed: Answers,
    ages: IntArray,
) -> Metadata:
    """Return a weights file's metadata with fitted temperature, decision rule and sets.

    answers: predictions for N validation images, at temperature 1; smaller: with faces of the
    smaller size classes, the smallest first; perturbed: for the perturbed images; ages: (N,) or
    (N, 2).
    """
    temperature = fit_temperature(answers, ages)
    *smaller, answers, perturbed = (
        replace(one, distribution=rescale(one.distribution, temperature))
        for one in (*smaller, answers, perturbed)
    )
    decision = fit_decision(answers, ages)
    sets = fit_sets([*smaller, answers], replace(perturbed, decision=decision), ages)
    return replace(metadata, temperature=temperature, decision=decision, sets=sets)


def fit_decision(answers: Answers, ages: IntArray, seed: int = 0) -> Decision:
    """Return the rule with the best macro-F1 that loses at most MOST_LOST of exact accuracy.

    It may lose no more on these images, nor in expectation: a lucky draw of a few
    thousand images hides the price of strong adjustment. answers: calibrated, for N images; ages:
    (N,) or (N, 2), used if they have a group.

    Simpler rules come first: the likeliest group, the median, then weaker adjustments.
    The first whose macro-F1 is within a standard error of the best is chosen (Breiman et
    al. 1984, section 3.4.3), by the bootstrap of their difference.
    """
    truth = answers.scheme.groups_of(ages)
    known, groups = truth != NO_GROUP, len(answers.scheme)
    if not known.any():
        return LIKELIEST
    chances, truth = answers.groups[known], truth[known]
    shares = _shares(truth, groups)
    rules = [LIKELIEST, MEDIAN, *(Decision("adjusted", tau, shares) for tau in TAUS)]
    answered = np.array([rule.decide(chances) for rule in rules])  # (rules, N)
    exact = (answered == truth).mean(axis=1)
    expected = chances[np.arange(len(truth)), answered].mean(axis=1)  # less noise, more bias
    lost = np.maximum(exact[0] - exact, expected[0] - expected)
    cheap = np.flatnonzero(lost <= MOST_LOST)

    def scores(draw: IntArray | slice) -> FloatArray:
        """Return the macro-F1 (rules,) of all rules that lose little, on a sample of the images."""
        cells = (confusion_matrix(truth[draw], answered[rule][draw], groups) for rule in cheap)
        return np.array([macro_f1(cell) for cell in cells])

    own, random = scores(slice(None)), np.random.default_rng(seed)
    sizes = [len(truth)] * RESAMPLES
    draws = np.array([scores(random.integers(size, size=size)) for size in sizes])
    best = own.argmax()
    error = (draws[:, [best]] - draws).std(axis=0)  # (rules,), of their difference to the best
    return rules[cheap[(own[best] - own <= error).argmax()]]


def fit_sets(sizes: Sequence[Answers], perturbed: Answers, ages: IntArray) -> Sets | None:
    """Return the thresholds with which the sets cover as many ages as they promise.

    sizes: calibrated predictions for the same N images in each size class; perturbed: for the
    perturbed images; ages: (N,) or (N, 2), used if they have a group, or a year. None if
    no image has a group.
    """
    first = sizes[0]
    truth, years = first.scheme.groups_of(ages), years_of(ages)
    known, dated = truth != NO_GROUP, np.isfinite(years)
    if not known.any():
        return None
    truth = truth[known]
    shares = _shares(truth, len(first.scheme))
    scores = [_own(group_scores(one.groups[known], shares), truth) for one in sizes]
    each = [scores[-1][truth == group] for group in range(len(first.scheme))]
    rows = None
    if first.knows_years and dated.any():
        year = np.clip(years[dated], 0, YEARS - 1).astype(np.int64)
        rows = tuple(_row(_own(year_scores(one.distribution[dated]), year)) for one in sizes)
    groups = tuple(map(_row, scores))
    own = tuple(_row(score, enough=LEAST_OWN) for score in each)
    entropy = _largest_entropy(perturbed.groups[known], perturbed.decided[known], truth)
    return Sets(shares, groups, rows, own, entropy)


def _largest_entropy(chances: FloatArray, decided: IntArray, truth: IntArray) -> float | None:
    """Return the entropy above which predictions (N,) are right less often than the majority group.

    It is the threshold above which most is gained by predicting the group with the
    most images instead; None if nothing is. chances: (N, groups).

    On perturbed validation images of the four released models and their ensemble, entropy detects
    predictions more than five years off with a lower AURC than the predicted group's probability
    (0.090 to 0.134 against 0.094 to 0.137), and wrong groups with one about 0.002 higher.
    """
    order = np.argsort(-entropies(chances), kind="stable")
    majority = np.bincount(truth).max() / len(truth)
    gained = np.append(0, (majority - (decided == truth)[order]).cumsum())  # by the first 0..N
    best = int(gained.argmax())
    return float(np.append(entropies(chances)[order], 0)[best]) if best else None


def _own(scores: FloatArray, truth: IntArray) -> FloatArray:
    """Return the scores (N,) of the true values (N,) among all (N, K)."""
    return scores[np.arange(len(truth)), truth]


def _row(scores: FloatArray, enough: int = 0) -> Row:
    """Return the quantiles of the N scores of the true values for each of COVERAGES.

    The quantile counts the next image, too; with too few images it is 1, and sets contain all. With
    fewer images than enough all are 0, and bound nothing.
    """
    if len(scores) < enough:
        return 0.0, 0.0, 0.0
    scores = np.sort(scores)
    places = [int(np.ceil((len(scores) + 1) * coverage)) for coverage in COVERAGES]
    low, middle, high = (
        float(scores[place - 1]) if place <= len(scores) else 1.0 for place in places
    )
    return low, middle, high


def _shares(truth: IntArray, groups: int) -> tuple[float, ...]:
    """Return each group's share of images with groups (N,), never 0."""
    images = np.bincount(truth, minlength=groups) + 1
    return tuple((images / images.sum()).tolist())


def _logits(distribution: FloatArray) -> FloatArray:
    return np.log(np.maximum(distribution, 1e-300, dtype=np.float64))
