"""Temperature scaling: one number that makes probabilities say how often they are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agecli.ages import NO_GROUP, Answers, FloatArray, IntArray, softmax

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures between which the best is searched."""


def rescale(distribution: FloatArray, temperature: float) -> FloatArray:
    """Return the distributions (N, K) that their logits would have at another temperature.

    temperature: a factor of the one that the distributions were made with.
    """
    return softmax(_logits(distribution), temperature)


def fit_temperature(answers: Answers, ages: IntArray) -> float:
    """Return the temperature under which the true groups are likeliest (Guo et al. 2017).

    answers: for N images, at temperature 1; ages: (N,) or (N, 2), of which those count that have a
    group. The mean negative log-likelihood has one minimum for groups; it is sought by Brent's
    method, on a logarithmic scale. 1 where no image has a group.
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


def _logits(distribution: FloatArray) -> FloatArray:
    return np.log(np.maximum(distribution, 1e-300, dtype=np.float64))
