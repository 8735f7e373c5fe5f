import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from agecli.training.alignment import area_under_curve, errors


def test_errors_are_degrees_parts_and_sides():
    true = np.array([[0.0, 0.0, 0.0, 0.0]] * 3)
    found = np.radians([10.0, -350.0, 10.0])
    poses = np.column_stack([found, np.log([1.1, 1.1, 1.1]), [0.04] * 3, [-0.04] * 3])
    figures = errors(poses, true)
    assert figures["angle"] == pytest.approx(10)  # -350 degrees are 10
    assert figures["scale"] == pytest.approx(0.1)
    assert figures["shift"] == pytest.approx(0.04)
    assert figures["angle95"] == pytest.approx(10)


def test_auc_is_sklearns_ties_and_all():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(2, 9, 40) / 10, rng.integers(0, 6, 30) / 10
    truth = roc_auc_score([1] * 40 + [0] * 30, [*positive, *negative])
    assert area_under_curve(positive, negative) == pytest.approx(truth, abs=1e-5)
