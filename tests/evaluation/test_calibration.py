"""Temperature scaling against scipy's minimiser, and where the truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from agecli.ages import YEARS, Answers, Scheme, softmax
from agecli.evaluation.calibration import fit_temperature, rescale

SCHEME = Scheme.parse("adience8")
YOUNGEST = np.array([low for low, _ in SCHEME.bounds])


def groups(logits: np.ndarray) -> Answers:
    return Answers(softmax(logits), SCHEME, knows_years=False)


def drawn(true_temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Give logits, and ages drawn from their softmax at a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(20_000, 8)) * 3
    chances = softmax(logits, true_temperature)
    groups = (chances.cumsum(axis=1) > random.random((len(chances), 1))).argmax(axis=1)
    return logits, YOUNGEST[groups]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_the_data_has_is_found(temperature: float):
    logits, ages = drawn(temperature)
    assert fit_temperature(groups(logits), ages) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_minimum_that_scipy_finds():
    logits, ages = drawn(1.7)
    truth = SCHEME.groups_of(ages)

    def loss(t: float) -> float:
        return -log_softmax(logits / t, axis=1)[np.arange(len(truth)), truth].mean()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(groups(logits), ages) == pytest.approx(best.x, rel=1e-5)


def test_gap_ages_count_for_nothing():
    logits, ages = drawn(1.7)
    wrong = np.concatenate([ages, np.full(500, 22)])
    more = np.concatenate([logits, np.full((500, 8), 9.0)])
    assert fit_temperature(groups(more), wrong) == fit_temperature(groups(logits), ages)
    assert fit_temperature(groups(logits[:3]), np.array([22, 23, 3])) == 1.0


def test_distributions_over_years_are_scaled_before_they_are_summed():
    random = np.random.default_rng(1)
    logits = random.normal(size=(5_000, YEARS)) * 2
    chances = softmax(logits, 1.5)
    ages = (chances.cumsum(axis=1) > random.random((len(chances), 1))).argmax(axis=1)
    years = Answers(softmax(logits), SCHEME, knows_years=True)
    assert fit_temperature(years, ages) == pytest.approx(1.5, rel=0.05)


def test_rescaling_is_what_the_logits_would_give():
    logits = np.random.default_rng(2).normal(size=(50, 8)) * 4
    np.testing.assert_allclose(rescale(softmax(logits), 1.8), softmax(logits, 1.8), rtol=1e-9)
