"""The losses against torch's own and against sums written out by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agecli.ages import YEARS, Scheme, label_distribution
from agecli.config import TrainConfig
from agecli.training.objectives import AgeObjective, balance_weights

SCHEME = Scheme.parse("adience8")
AGES = np.array([1, 5, 28, 28, 70, 3])  # the last is a gap age
GROUPS = torch.tensor([0, 1, 4, 4, 7])


def objective(name: str, **settings) -> AgeObjective:
    return AgeObjective(TrainConfig(objective=name, **settings), SCHEME, AGES)


def test_groups_is_cross_entropy_over_the_images_with_a_group():
    logits = torch.randn(6, 8)
    loss = objective("groups")(logits, torch.from_numpy(AGES))
    torch.testing.assert_close(loss, F.cross_entropy(logits[:5], GROUPS))


def test_label_smoothing_is_torchs_and_only_for_training():
    logits = torch.randn(5, 8)
    loss = objective("groups", label_smoothing=0.1)
    ages = torch.from_numpy(AGES[:5])
    expected = F.cross_entropy(logits, GROUPS, label_smoothing=0.1)
    torch.testing.assert_close(loss.train()(logits, ages), expected)
    torch.testing.assert_close(loss.eval()(logits, ages), F.cross_entropy(logits, GROUPS))


def test_ages_is_cross_entropy_with_the_label_distribution_of_all_images():
    logits = torch.randn(6, YEARS)
    target = torch.from_numpy(label_distribution(AGES))
    loss = objective("ages")(logits, torch.from_numpy(AGES))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))


def test_both_adds_the_loss_of_the_summed_years():
    logits = torch.randn(6, YEARS, dtype=torch.float64)
    p = torch.softmax(logits, dim=1).numpy()
    expected = -(label_distribution(AGES) * np.log(p)).sum(axis=1).mean()
    by_hand = []
    for row, (low, high) in zip(range(5), [(0, 2), (4, 6), (25, 32), (25, 32), (60, 100)],
                                strict=True):  # fmt: skip
        inside = sum(p[row, a : b + 1].sum() for a, b in SCHEME.bounds)
        by_hand.append(-math.log(p[row, low : high + 1].sum() / inside))
    loss = objective("both")(logits, torch.from_numpy(AGES)).item()
    assert loss == pytest.approx(expected + np.mean(by_hand), rel=1e-5)


def test_a_batch_of_gap_ages_alone_gives_a_finite_loss_and_gradient():
    logits = torch.randn(2, YEARS, requires_grad=True)
    loss = objective("both")(logits, torch.tensor([3, 22]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_ages_above_a_hundred_count_as_a_hundred():
    logits = torch.randn(1, YEARS)
    loss = objective("both")
    assert loss(logits, torch.tensor([116])) == loss(logits, torch.tensor([100]))


@pytest.mark.parametrize(("name", "used"), [("groups", 5), ("ages", 6), ("both", 6)])
def test_groups_leaves_gap_ages_out(name, used):
    assert objective(name).uses(AGES).sum() == used


def test_balance_full_gives_every_group_the_same_say():
    groups = np.array([0] * 9 + [1] * 1)
    np.testing.assert_allclose(balance_weights(groups, 2, "none"), [1, 1])
    full = balance_weights(groups, 2, "full")
    assert full[0] * 9 == pytest.approx(full[1] * 1)
    sqrt = balance_weights(groups, 2, "sqrt")
    assert sqrt[1] / sqrt[0] == pytest.approx(3)
    for weights in (full, sqrt):
        assert weights[groups].mean() == pytest.approx(1)


def test_an_absent_group_weighs_one():
    assert balance_weights(np.array([0, 0]), 3, "full").tolist() == [1, 1, 1]


def test_balanced_loss_is_the_weighted_mean():
    ages = np.array([28, 28, 28, 70])
    loss = AgeObjective(TrainConfig(objective="groups", balance="full"), SCHEME, ages)
    logits = torch.randn(4, 8)
    groups = torch.tensor([4, 4, 4, 7])
    weight = torch.ones(8)
    weight[4], weight[7] = 1, 3
    expected = F.cross_entropy(logits, groups, weight=weight)
    torch.testing.assert_close(loss.train()(logits, torch.from_numpy(ages)), expected)
