"""The losses against torch's own and against sums written out by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agecli.ages import YEARS, Scheme, label_distribution
from agecli.config import CapsNetConfig, CnnConfig, Dinov2Config
from agecli.training.objectives import (
    AgeObjective,
    MarginObjective,
    balance_weights,
    make_objective,
)

SCHEME = Scheme.parse("adience8")
AGES = np.array([1, 5, 28, 28, 70, 3])  # the last is a gap age
GROUPS = torch.tensor([0, 1, 4, 4, 7])


def objective(name: str, **settings) -> AgeObjective:
    return AgeObjective(CnnConfig(objective=name, **settings), SCHEME, AGES)


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


def test_the_youngest_and_the_oldest_are_learned_too():
    logits, ages = torch.randn(2, YEARS), np.array([0, 116])
    loss = objective("ages")(logits, torch.from_numpy(ages))
    target = torch.from_numpy(label_distribution(ages))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))
    assert objective("groups").uses(ages).tolist() == [True, True]
    oldest = AgeObjective(CnnConfig(objective="groups"), Scheme.parse("0-50,100"), AGES)
    assert oldest.uses(np.array([99, 100, 116])).tolist() == [False, True, True]
    groups = objective("groups")(logits[:, :8], torch.from_numpy(ages))
    torch.testing.assert_close(groups, F.cross_entropy(logits[:, :8], torch.tensor([0, 7])))


FAIRFACE = torch.tensor(
    [(0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 120)]
)


def test_a_range_costs_the_logarithm_of_its_years_share():
    logits = torch.randn(3, YEARS, dtype=torch.float64)
    p = torch.softmax(logits, dim=1).numpy()
    ranges = torch.tensor([(25, 34), (60, 120), (0, 120)])
    losses = [-math.log(p[0, 25:35].sum()), -math.log(p[1, 60:].sum()), 0]
    assert objective("ages")(logits, ranges).item() == pytest.approx(np.mean(losses))


def test_years_and_ranges_of_a_batch_count_alike():
    logits, ages = torch.randn(12, YEARS), torch.from_numpy(AGES)
    years = torch.stack([ages, ages], dim=1)
    for name in ("ages", "both"):
        assert objective(name)(logits[:6], years) == objective(name)(logits[:6], ages)
    ranges = torch.tensor([(25, 34)] * 6)
    loss = objective("ages")
    apart = loss(logits[:6], years) + loss(logits[6:], ranges)
    torch.testing.assert_close(loss(logits, torch.cat([years, ranges])), apart / 2)


@pytest.mark.parametrize("name", ["groups", "both"])
def test_a_range_is_as_likely_as_the_share_of_each_group_that_it_holds(name):
    logits = torch.randn(2, 8 if name == "groups" else YEARS, dtype=torch.float64)
    p = torch.softmax(logits, dim=1).numpy()
    groups, years = p, np.zeros(2)
    ranges = [(30, 39), (24, 33)]
    if name == "both":
        groups = np.array([[row[a : b + 1].sum() for a, b in SCHEME.bounds] for row in p])
        groups /= groups.sum(axis=1, keepdims=True)
        years = [-math.log(row[a : b + 1].sum()) for row, (a, b) in zip(p, ranges, strict=True)]
    # 30-39 holds 3 of the 8 years of 25-32 and 2 of the 6 of 38-43, which are 5 of its own 10.
    across = -math.log(groups[0, 4] * 3 / 8 + groups[0, 5] * 2 / 6) + math.log(3 / 8)
    inside = -math.log(groups[1, 4])  # 24-33 holds all of 25-32, which are 8 of its own 10
    expected = np.mean(years) + (0.5 * across + 0.8 * inside) / 1.3
    loss = objective(name)(logits, torch.tensor(ranges)).item()
    assert loss == pytest.approx(expected, rel=1e-6)


def test_ranges_that_touch_no_group_count_for_none():
    logits = torch.randn(2, YEARS, requires_grad=True)
    ranges = torch.tensor([(21, 24), (33, 37)])
    loss = objective("both")(logits, ranges)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    torch.testing.assert_close(loss, objective("ages")(logits, ranges))
    used = objective("groups").uses(np.array([(21, 24), (20, 24), (60, 120), (3, 3)]))
    assert used.tolist() == [False, True, True, False]
    assert margin().uses(FAIRFACE.numpy()).tolist() == [True] + [False] * 6 + [True] * 2


def test_every_group_is_learned_from_ranges_that_have_none_of_their_own():
    logits = torch.zeros(len(FAIRFACE), 8, requires_grad=True)
    objective("groups")(logits, FAIRFACE).backward()
    assert (logits.grad.min(dim=0).values < 0).all()  # some image asks for more of each


def test_a_range_weighs_as_the_groups_that_its_years_are_nearest_to():
    ages = np.array([(0, 2)] * 3 + [(20, 29)])  # of 20 to 29, three are nearest to 15-20
    weight = AgeObjective(CnnConfig(balance="full"), SCHEME, ages).weight
    assert weight[0, 2].item() == pytest.approx(4 / 3 / 3)
    rare, common = 4 / 3 / 0.3, 4 / 3 / 0.7
    assert weight[20, 22].item() == pytest.approx(rare)
    assert weight[26, 30].item() == pytest.approx(common)
    assert weight[20, 29].item() == pytest.approx(0.3 * rare + 0.7 * common)
    assert (3 * weight[0, 2] + weight[20, 29]).item() == pytest.approx(4)  # mean 1


def test_half_precision_is_scored_in_full():
    logits, ages = torch.randn(6, YEARS).half(), torch.from_numpy(AGES)
    assert objective("both")(logits, ages) == objective("both")(logits.float(), ages)
    assert margin()(logits[:5, :8], ages[:5]) == margin()(logits[:5, :8].float(), ages[:5])


def test_a_gap_age_weighs_as_its_nearest_group():
    ages = np.array([1, 1, 1, 5, 28, 28])
    weight = AgeObjective(CnnConfig(balance="full"), SCHEME, ages).weight
    full = balance_weights(np.eye(8)[[0, 0, 0, 1, 4, 4]], "full")
    years = [0, 3, 6, 7, 24, 37]
    assert weight[years, years].tolist() == full[[0, 0, 1, 1, 4, 5]].tolist()


@pytest.mark.parametrize(("name", "used"), [("groups", 5), ("ages", 6), ("both", 6)])
def test_groups_leaves_gap_ages_out(name, used):
    assert objective(name).uses(AGES).sum() == used


def test_balance_full_gives_every_group_the_same_say():
    groups = np.array([0] * 9 + [1] * 1)
    shares = np.eye(2)[groups]
    np.testing.assert_allclose(balance_weights(shares, "none"), [1, 1])
    full = balance_weights(shares, "full")
    assert full[0] * 9 == pytest.approx(full[1] * 1)
    sqrt = balance_weights(shares, "sqrt")
    assert sqrt[1] / sqrt[0] == pytest.approx(3)
    for weights in (full, sqrt):
        assert weights[groups].mean() == pytest.approx(1)


def test_an_absent_group_weighs_one():
    assert balance_weights(np.eye(3)[[0, 0]], "full").tolist() == [1, 1, 1]


def test_ranges_weigh_as_much_as_is_asked_for():
    logits = torch.randn(2, YEARS)
    labels = torch.tensor([[28, 28], [25, 32]])
    year, span = (objective("ages")(logits[n : n + 1], labels[n : n + 1]) for n in (0, 1))
    loss = objective("ages", range_weight=0.25).train()
    torch.testing.assert_close(loss(logits, labels), (year + span / 4) / 1.25)
    torch.testing.assert_close(loss.eval()(logits, labels), (year + span) / 2)


def test_balanced_loss_is_the_weighted_mean():
    ages = np.array([28, 28, 28, 70])
    loss = AgeObjective(CnnConfig(objective="groups", balance="full"), SCHEME, ages)
    logits = torch.randn(4, 8)
    groups = torch.tensor([4, 4, 4, 7])
    weight = torch.ones(8)
    weight[4], weight[7] = 1, 3
    expected = F.cross_entropy(logits, groups, weight=weight)
    torch.testing.assert_close(loss.train()(logits, torch.from_numpy(ages)), expected)


def margin(**settings) -> MarginObjective:
    return MarginObjective(CapsNetConfig(**settings), SCHEME, AGES)


def test_margin_loss_follows_the_papers_formula():
    lengths = torch.tensor([[0.95, 0.05, 0.3, 0, 0, 0, 0, 0], [0.2, 0.5, 0, 0, 0, 0, 0, 0.7]])
    ages = torch.tensor([1, 70])  # groups 0 and 7
    # 1st: only 0.3 is too long, by 0.2; 2nd: 0.7 lacks 0.2; 0.2 and 0.5 are too long.
    first, second = 0.5 * 0.2**2, 0.2**2 + 0.5 * (0.1**2 + 0.4**2)
    loss = margin().eval()(lengths.clamp(min=1e-6).log(), ages)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_margin_uses_the_images_that_have_a_group():
    assert margin().uses(np.array([1, 3, 22, 30, 99])).tolist() == [True, False, False, True, True]


def test_margin_weighs_rare_groups_in_training_alone():
    ages = np.array([1] + [30] * 9)
    loss = MarginObjective(CapsNetConfig(balance="full"), SCHEME, ages)
    logits, batch = torch.zeros(2, 8), torch.tensor([1, 30])
    logits[0] = -9.0  # the rare one is wrong
    rare, common = 0.9**2, 7 * 0.5 * 0.9**2  # too short; all the others too long
    assert loss.eval()(logits, batch).item() == pytest.approx((rare + common) / 2, rel=1e-3)
    assert loss.train()(logits, batch).item() == pytest.approx(0.9 * rare + 0.1 * common, rel=1e-3)


def test_reconstruction_adds_its_error():
    logits, picture = torch.zeros(2, 8), torch.zeros(2, 3, 4, 4)
    images, ages = torch.full((2, 3, 8, 8), 2.0), torch.tensor([1, 30])
    seen = []

    def model(x: torch.Tensor, groups: torch.Tensor) -> tuple:
        seen.append(groups.tolist())
        return logits, picture

    loss = margin()
    total = loss.training_loss(model, images, ages)
    assert total.item() == pytest.approx(loss(logits, ages).item() + 0.02 * 2.0**2)
    assert seen == [[0, 4]]


@pytest.mark.parametrize("name", ["groups", "both"])
def test_processes_give_their_shares_of_the_mean_over_all_images(monkeypatch, name: str):
    from agecli import distributed

    loss = objective(name, balance="full").train()
    loss.parallel = True
    logits = torch.randn(6, 8 if name == "groups" else YEARS)
    ages = torch.from_numpy(AGES)
    whole = loss(logits, ages)
    totals: list[list[torch.Tensor]] = [[], []]
    parts = [slice(0, 2), slice(2, 6)]
    for part, heard in zip(parts, totals, strict=True):
        monkeypatch.setattr(distributed, "gather_tensor", lambda t, h=heard: h.append(t) or t[None])
        loss(logits[part], ages[part])
    losses = []
    for part in parts:
        both = iter(zip(*totals, strict=True))
        monkeypatch.setattr(distributed, "gather_tensor", lambda t, b=both: torch.stack(next(b)))
        losses.append(loss(logits[part], ages[part]))
    torch.testing.assert_close(sum(losses) / 2, whole)
    torch.testing.assert_close(loss.eval()(logits, ages), objective(name).eval()(logits, ages))


def soft_labels(count: int, outputs: int) -> torch.Tensor:
    return torch.randn(count, outputs).softmax(dim=1)


def cross_entropy(soft: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    return -(soft * probabilities.log()).sum(dim=1).mean()


@pytest.mark.parametrize("name", ["groups", "ages", "both"])
def test_label_and_soft_label_count_half_each(name: str):
    outputs = 8 if name == "groups" else YEARS
    logits, soft, ages = torch.randn(6, outputs), soft_labels(6, outputs), torch.from_numpy(AGES)
    loss = objective(name)
    taught = cross_entropy(soft, logits.softmax(dim=1))
    torch.testing.assert_close(loss(logits, ages, soft), (loss(logits, ages) + taught) / 2)
    nothing = torch.zeros_like(soft)
    torch.testing.assert_close(loss(logits, ages, nothing), loss(logits, ages))


@pytest.mark.parametrize("name", ["groups", "ages", "both"])
def test_an_image_without_a_soft_label_learns_from_its_label_alone(name: str):
    outputs = 8 if name == "groups" else YEARS
    logits, soft = torch.randn(2, outputs), soft_labels(2, outputs)
    ages, loss = torch.tensor([1, 28]), objective(name)
    soft[1] = 0
    alone = [loss(logits[[place]], ages[[place]]) for place in range(2)]
    taught = cross_entropy(soft[:1], logits[:1].softmax(dim=1))
    expected = ((alone[0] + taught) / 2 + alone[1]) / 2
    torch.testing.assert_close(loss(logits, ages, soft), expected)


def test_a_model_of_groups_learns_of_years_those_that_have_one():
    logits, soft = torch.randn(1, 8), torch.zeros(1, YEARS)
    soft[0, 28], soft[0, 22], soft[0, 70] = 0.5, 0.3, 0.2  # 22 has no group
    p = logits.softmax(dim=1)[0]
    taught = -(0.5 * p[4].log() + 0.2 * p[7].log())
    loss, age = objective("groups"), torch.tensor([28])
    expected = (1 - 0.7 / 2) * loss(logits, age) + taught / 2
    torch.testing.assert_close(loss(logits, age, soft), expected)


@pytest.mark.parametrize("name", ["ages", "both"])
def test_a_model_of_years_learns_of_groups_their_share_of_its_answer(name: str):
    logits, soft = torch.randn(6, YEARS), soft_labels(6, 8)
    p = logits.softmax(dim=1)
    groups = torch.stack([p[:, low : high + 1].sum(dim=1) for low, high in SCHEME.bounds], dim=1)
    taught = cross_entropy(soft, groups / groups.sum(dim=1, keepdim=True))
    loss, ages = objective(name), torch.from_numpy(AGES)
    torch.testing.assert_close(loss(logits, ages, soft), (loss(logits, ages) + taught) / 2)


@pytest.mark.parametrize("years", [False, True])
def test_the_margin_loss_of_a_soft_label_is_the_one_expected_by_it(years: bool):
    loss, logits = margin(), torch.randn(1, 8).clamp(max=0)
    soft = torch.zeros(1, YEARS if years else 8)
    soft[0, [28, 70] if years else [4, 7]] = torch.tensor([0.75, 0.25])
    of_groups = [loss(logits, torch.tensor([age])) for age in (1, 28, 70)]
    expected = of_groups[0] / 2 + 0.375 * of_groups[1] + 0.125 * of_groups[2]
    torch.testing.assert_close(loss(logits, torch.tensor([1]), soft), expected)
    nothing = torch.zeros_like(soft)
    torch.testing.assert_close(loss(logits, torch.tensor([1]), nothing), of_groups[0])


def test_an_objective_is_made_as_the_configuration_says():
    for config, kind in ((CnnConfig(), AgeObjective), (Dinov2Config(), AgeObjective),
                         (CapsNetConfig(), MarginObjective)):  # fmt: skip
        assert type(make_objective(config, SCHEME, AGES)) is kind


def test_the_training_loss_is_that_of_what_the_model_answers():
    images, ages = torch.randn(6, 3, 4, 4), torch.from_numpy(AGES)
    loss = objective("both")
    total = loss.training_loss(lambda x: x.flatten(1).repeat(1, 3)[:, :YEARS], images, ages)
    assert total == loss(images.flatten(1).repeat(1, 3)[:, :YEARS], ages)


def test_without_a_decoder_the_margin_loss_is_all():
    logits, ages = torch.randn(3, 8), torch.tensor([1, 30, 116])
    seen = []
    loss = margin()
    total = loss.training_loss(lambda x, groups: seen.append(groups) or (logits, None), None, ages)
    assert total == loss(logits, ages)
    assert seen[0].tolist() == [0, 4, 7]
