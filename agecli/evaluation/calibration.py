"""Temperature scaling: one number that makes probabilities say how often they are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agecli.ages import NO_GROUP, Answers, FloatArray, IntArray, softmax

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures between which the best is searched."""
STEPS = 60
"""Of the golden section: the range shrinks to 1e-12 of its logarithm."""


def rescale(distribution: FloatArray, temperature: float) -> FloatArray:
    """Return the distributions (N, K) that their logits would have at another temperature.

    temperature: a factor of the one that the distributions were made with.
    """
    return softmax(np.log(np.maximum(distribution, 1e-300)), temperature)


def fit_temperature(answers: Answers, ages: IntArray) -> float:
    """Return the temperature under which the true groups are likeliest (Guo et al. 2017).

    answers: for N images, at temperature 1; ages: (N,), of which those count that have a group. The
    mean negative log-likelihood has one minimum for groups; it is found by the golden section, on a
    logarithmic scale. 1 where no image has a group.
    """
    truth = answers.scheme.groups_of(ages)
    known = truth != NO_GROUP
    if not known.any():
        return 1.0
    logits, truth = np.log(np.maximum(answers.distribution[known], 1e-300)), truth[known]

    def loss(log_temperature: float) -> float:
        scaled = softmax(logits, float(np.exp(log_temperature)))
        chances = replace(answers, distribution=scaled).groups
        return float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], 1e-300)).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    ratio = (np.sqrt(5) - 1) / 2
    inner, outer = high - ratio * (high - low), low + ratio * (high - low)
    inner_loss, outer_loss = loss(inner), loss(outer)
    for _ in range(STEPS):
        if inner_loss < outer_loss:
            high, outer, outer_loss = outer, inner, inner_loss
            inner = high - ratio * (high - low)
            inner_loss = loss(inner)
        else:
            low, inner, inner_loss = inner, outer, outer_loss
            outer = low + ratio * (high - low)
            outer_loss = loss(outer)
    return float(np.exp((low + high) / 2))
