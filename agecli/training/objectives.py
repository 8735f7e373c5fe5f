"""What a model is trained to predict, and how it is scored: groups, years, or both."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from agecli.ages import NO_GROUP, YEARS, Scheme, label_distribution
from agecli.config import TrainConfig


class AgeObjective(nn.Module):
    """The loss of a batch of logits, given the ages.

    groups: cross-entropy over the scheme's groups. ages: cross-entropy with a distribution over
    the years 0-100. both: their sum, where the probability of a group is the sum of its years'
    probabilities, renormalised over the scheme; gap ages count in the years' part only.
    """

    group: Tensor
    """(YEARS,) group of each age, or NO_GROUP."""
    target: Tensor
    """(YEARS, YEARS) distribution for each age."""
    weight: Tensor
    """(YEARS,) weight of each age's images."""
    membership: Tensor
    """(YEARS, groups) whether a year belongs to a group."""

    def __init__(self, config: TrainConfig, scheme: Scheme, train_ages: NDArray) -> None:
        super().__init__()
        self.name, self.smoothing = config.objective, config.label_smoothing
        every_age = np.arange(YEARS)
        nearest = scheme.nearest_groups(every_age)
        weights = balance_weights(scheme.nearest_groups(train_ages), len(scheme), config.balance)
        self.register_buffer("group", torch.from_numpy(scheme.groups_of(every_age)))
        self.register_buffer(
            "target", torch.from_numpy(label_distribution(every_age, config.label_width))
        )
        self.register_buffer("weight", torch.from_numpy(weights[nearest]))
        self.register_buffer("membership", torch.from_numpy(scheme.year_matrix()).bool())

    def uses(self, ages: NDArray) -> NDArray[np.bool_]:
        """Tell which images count: all of them, or for groups alone those with a group."""
        known = self.group.cpu().numpy()[np.clip(ages, 0, YEARS - 1)] != NO_GROUP
        return known if self.name == "groups" else np.ones(len(ages), dtype=bool)

    def forward(self, logits: Tensor, ages: Tensor) -> Tensor:
        """Give the mean loss of logits (B, groups) or (B, YEARS) for ages (B,)."""
        logits, years = logits.float(), ages.clamp(0, YEARS - 1)
        weight = self.weight[years] if self.training else torch.ones_like(years, dtype=torch.float)
        if self.name == "groups":
            return self._group_loss(F.log_softmax(logits, dim=1), years, weight)
        losses = -(self.target[years] * F.log_softmax(logits, dim=1)).sum(dim=1)  # (B,)
        loss = (losses * weight).sum() / weight.sum()
        if self.name == "both":
            # (B, groups, YEARS), of which a group's own years count
            masked = torch.where(self.membership.T, logits[:, None], -torch.inf)
            by_group = torch.logsumexp(masked, dim=2)  # (B, groups)
            loss = loss + self._group_loss(F.log_softmax(by_group, dim=1), years, weight)
        return loss

    def _group_loss(self, log_probabilities: Tensor, years: Tensor, weight: Tensor) -> Tensor:
        group = self.group[years]
        known = (group != NO_GROUP).float() * weight
        smoothing = self.smoothing if self.training else 0.0
        picked = log_probabilities.gather(1, group.clamp(min=0)[:, None])[:, 0]  # (B,)
        losses = -(1 - smoothing) * picked - smoothing * log_probabilities.mean(dim=1)
        return (losses * known).sum() / known.sum().clamp(min=1e-6)


def balance_weights(groups: NDArray, count: int, balance: str) -> NDArray[np.float32]:
    """Give each group its images' weight: 1 (none), ∝ 1/√n (sqrt) or ∝ 1/n (full).

    groups: (N,) indices. The mean weight over the images is 1; absent groups get 1.
    """
    n = np.bincount(groups, minlength=count).astype(np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "full": 1.0}[balance]
    weights = np.where(n > 0, np.maximum(n, 1) ** -power, 0)
    mean = (weights * n).sum() / max(n.sum(), 1)
    return np.where(n > 0, weights / max(mean, 1e-12), 1).astype(np.float32)
