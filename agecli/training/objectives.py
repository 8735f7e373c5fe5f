"""What a model is trained to predict, and how it is scored: groups, years, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from agecli import distributed
from agecli.ages import (
    NO_GROUP,
    YEARS,
    Scheme,
    every_label,
    knows_years,
    label_distribution,
)
from agecli.config import AgesConfig, TrainConfig

Ends = tuple[Tensor, Tensor]
"""First and last years (B,) of a batch's labels."""

MARGIN_PRESENT, MARGIN_ABSENT, ABSENT_WEIGHT = 0.9, 0.1, 0.5
RECONSTRUCTION_WEIGHT = 0.02
"""Weight of the pixels' mean squared error: the paper's 0.0005 for each of 784 pixels in 0 to 1."""


def make_objective(config: TrainConfig, scheme: Scheme, train_ages: NDArray) -> Objective:
    """Build the objective of a configuration; train_ages (N, 2) set the weights of --balance."""
    if isinstance(config, AgesConfig):
        return AgeObjective(config, scheme, train_ages)
    return MarginObjective(config, scheme, train_ages)


class Objective(nn.Module):
    """What a model is trained to predict; called with logits and ages, it returns the loss.

    Ages are labels (B, 2), a first and a last year of 0 to 120, or plain years (B,). Soft labels
    are distributions over years (B, YEARS) or groups (B, groups), zeros where there is none. For an
    image that has one, label and soft label count half each. From soft labels over years, a
    model of groups learns the years that have a group.
    """

    group: Tensor
    """(YEARS, YEARS) group by a label's first and last year, or NO_GROUP."""
    weight: Tensor
    """(YEARS, YEARS) weight of images with such a label."""
    groups_of_years: Tensor
    """(YEARS, groups) 1 where a year belongs to a group."""
    parallel = False
    """Whether a launch's processes train together, with one mean loss over all their images."""

    def __init__(self, config: TrainConfig, scheme: Scheme, train_ages: NDArray) -> None:
        super().__init__()
        self.knows_years = knows_years(config.objective)
        weights = balance_weights(scheme.near_shares(train_ages), config.balance)  # (groups,)
        weight = (scheme.near_shares(every_label()) @ weights).reshape(YEARS, YEARS)
        self.register_buffer("group", torch.from_numpy(scheme.range_groups()))
        self.register_buffer("weight", torch.from_numpy(weight))
        self.register_buffer("groups_of_years", torch.from_numpy(scheme.year_matrix()))

    def uses(self, ages: NDArray) -> NDArray[np.bool_]:
        """Return the mask (N,) of ages (N, 2) that are used: those with a group."""
        return (self.group.cpu()[_ends(torch.from_numpy(ages))] != NO_GROUP).numpy()

    def training_loss(
        self, model: Callable[..., Any], images: Tensor, ages: Tensor, soft: Tensor | None = None
    ) -> Tensor:
        """Run a model on normalised images (B, 3, S, S) and return the loss to train on."""
        return self(model(images), ages, soft)

    def _weights_of(self, ends: Ends) -> Tensor:
        return self.weight[ends] if self.training else torch.ones_like(ends[0], dtype=torch.float)

    def _in_outputs(self, soft: Tensor) -> Tensor:
        """Convert soft labels over years to groups, (B, groups), for a model of groups.

        They sum to the share of the years that have a group.
        """
        if self.knows_years or soft.shape[1] != YEARS:
            return soft
        return soft @ self.groups_of_years

    def _mean(self, losses: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean of losses (B,); weights may be zero.

        With several processes, each returns its share of the mean over all their images, times the
        number of processes: separate means would count a heavy image less among other heavy ones.
        """
        total = weight.sum()
        if self.parallel and self.training:
            total = distributed.gather_tensor(total).mean()
        return (losses * weight).sum() / total.clamp(min=1e-6)


class AgeObjective(Objective):
    """The loss of a batch of logits, given the ages.

    groups: cross-entropy over the scheme's groups. ages: cross-entropy with a distribution over
    the years 0-100; for a range, the negative logarithm of its years' share of the predicted
    distribution, the likelihood of an interval-censored age (Turnbull 1976). both: their sum,
    where the probability of a group is the sum of its years' probabilities, renormalised over the
    scheme; gap ages count in the years' part only.

    In the groups' part a range's likelihood in each group is the share of the group's years that
    it covers (the law of total probability, with ages uniform within a group): one that touches
    one group counts for that, one across several for a mixture of them. Its weight is the share of
    its years that have a group, as for years: 1, or 0 for a gap age.
    """

    target: Tensor
    """(YEARS, YEARS) target distribution for each age."""
    outside: Tensor
    """(groups, YEARS) 0 for a group's years, -inf elsewhere."""
    likely: Tensor
    """(YEARS, YEARS, groups) log-likelihood of a label in each group, by its first and last year,
    up to a constant: 0 in the group that it covers most of."""
    share: Tensor
    """(YEARS, YEARS) share of a label's years that have a group."""

    def __init__(self, config: AgesConfig, scheme: Scheme, train_ages: NDArray) -> None:
        super().__init__(config, scheme, train_ages)
        self.name, self.smoothing = config.objective, config.label_smoothing
        low, high = torch.from_numpy(every_label().T.reshape(2, YEARS, YEARS))
        self.weight[low < high] *= config.range_weight
        target = label_distribution(np.arange(YEARS), config.label_width)
        self.register_buffer("target", torch.from_numpy(target))
        # Added to logits, it masks all years but a group's own.
        outside = torch.full((len(scheme), YEARS), -torch.inf)
        for group, (low, high) in enumerate(scheme.bounds):
            outside[group, low : high + 1] = 0
        self.register_buffer("outside", outside)
        likely, share = _likelihoods(scheme)
        self.register_buffer("likely", torch.from_numpy(likely))
        self.register_buffer("share", torch.from_numpy(share))

    def uses(self, ages: NDArray) -> NDArray[np.bool_]:
        """Return the mask (N,) of images used: all, or for groups only those that touch one."""
        if self.name != "groups":
            return np.ones(len(ages), dtype=bool)
        return (self.share.cpu()[_ends(torch.from_numpy(ages))] > 0).numpy()

    def forward(self, logits: Tensor, ages: Tensor, soft: Tensor | None = None) -> Tensor:
        """Return the mean loss of logits (B, groups) or (B, YEARS) for ages (B, 2)."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half is too coarse
        if soft is None:
            return self._labelled(logits, ages)
        soft = self._in_outputs(soft).to(logits.dtype)
        by_years = self.knows_years and soft.shape[1] != YEARS
        log_probabilities = F.log_softmax(self._by_group(logits) if by_years else logits, dim=1)
        taught = -(soft * log_probabilities).sum(dim=1).mean()
        return self._labelled(logits, ages, 1 - soft.sum(dim=1) / 2) + taught / 2

    def _labelled(self, logits: Tensor, ages: Tensor, part: Tensor | float = 1.0) -> Tensor:
        """Return the mean loss on the labels, each counted in part (B,)."""
        ends = _ends(ages)
        weight = self._weights_of(ends)
        loss = torch.zeros((), device=logits.device)
        if self.name != "groups":
            losses = self._year_losses(F.log_softmax(logits, dim=1), *ends)
            loss = self._mean(part * losses, weight)
        if self.name != "ages":
            by_group = logits if self.name == "groups" else self._by_group(logits)
            losses = self._group_losses(F.log_softmax(by_group, dim=1), ends)
            loss = loss + self._mean(part * losses, self.share[ends] * weight)
        return loss

    def _by_group(self, logits: Tensor) -> Tensor:
        """Return the logits of groups (B, groups) from logits of years (B, YEARS)."""
        return (logits[:, None] + self.outside).logsumexp(dim=2)

    def _year_losses(self, log_probabilities: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the losses (B,) of years' log probabilities (B, YEARS) for labels low to high."""
        of_years = -(self.target[low] * log_probabilities).sum(dim=1)
        years = torch.arange(YEARS, device=low.device)
        outside = (years < low[:, None]) | (years > high[:, None])  # (B, YEARS)
        of_ranges = -log_probabilities.masked_fill(outside, -torch.inf).logsumexp(dim=1)
        return torch.where(low == high, of_years, of_ranges)

    def _group_losses(self, log_probabilities: Tensor, ends: Ends) -> Tensor:
        """Return the losses (B,) of log probabilities of groups (B, groups)."""
        right = (log_probabilities + self.likely[ends]).logsumexp(dim=1)  # (B,)
        smoothing = self.smoothing if self.training else 0.0
        return -(1 - smoothing) * right - smoothing * log_probabilities.mean(dim=1)


class MarginObjective(Objective):
    """The margin loss of group capsules (Sabour et al. 2017, eq. 4), and the reconstruction loss.

    Lengths above 0.9 for the true group and below 0.1 for the others cost nothing. For a soft label
    it is the expected loss over a true group drawn from it.
    """

    def training_loss(
        self, model: Callable[..., Any], images: Tensor, ages: Tensor, soft: Tensor | None = None
    ) -> Tensor:
        """Add the reconstruction error of the images (B, 3, S, S), if there is a decoder."""
        groups = self.group[_ends(ages)]
        logits, pictures = model(images, groups)
        loss = self(logits, ages, soft)
        if pictures is not None:
            target = F.interpolate(images, size=pictures.shape[2:], mode="area")
            loss = loss + RECONSTRUCTION_WEIGHT * F.mse_loss(pictures.float(), target)
        return loss

    def forward(self, logits: Tensor, ages: Tensor, soft: Tensor | None = None) -> Tensor:
        """Return the mean loss of log-lengths (B, groups) for ages (B, 2) that have a group."""
        ends = _ends(ages)
        weight = self._weights_of(ends)
        lengths = logits.float().exp()
        present = F.one_hot(self.group[ends], lengths.shape[1]).float()
        if soft is not None:  # linear in the labels: the mean of both losses
            soft = self._in_outputs(soft)
            present = present * (1 - soft.sum(dim=1, keepdim=True) / 2) + soft / 2
        missing = present * F.relu(MARGIN_PRESENT - lengths) ** 2
        spurious = ABSENT_WEIGHT * (1 - present) * F.relu(lengths - MARGIN_ABSENT) ** 2
        return self._mean((missing + spurious).sum(dim=1), weight)


def _likelihoods(scheme: Scheme) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the tables `likely` and `share` of an AgeObjective."""
    inside = scheme.years_inside(every_label()).astype(np.float32)  # (YEARS · YEARS, groups)
    low, high = every_label().T
    sizes = np.array([last + 1 - first for first, last in scheme.bounds], np.float32)
    held = inside / sizes
    best = held.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        likely = np.where(best > 0, np.log(held / best), 0)  # a gap age's has no weight
    share = inside.sum(axis=1) / np.maximum(high + 1 - low, 1)
    shape = (YEARS, YEARS)
    return likely.reshape(*shape, -1).astype(np.float32), share.reshape(shape).astype(np.float32)


def _ends(ages: Tensor) -> Ends:
    """Return the first and last years (B,) of labels (B, 2) or years (B,), within 0 to 100."""
    years = ages.clamp(0, YEARS - 1)
    return (years, years) if years.ndim == 1 else (years[:, 0], years[:, 1])


def balance_weights(shares: NDArray, balance: str) -> NDArray[np.float32]:
    """Compute the weight of images of each group: 1 (none), ∝ 1/√n (sqrt) or ∝ 1/n (full).

    shares: (N, groups), how far an image counts for each group, 1 in all. The mean weight over the
    images is 1; absent groups get 1.
    """
    n = shares.sum(axis=0, dtype=np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "full": 1.0}[balance]
    weights = np.where(n > 0, np.maximum(n, 1e-9) ** -power, 0)
    mean = (weights * n).sum() / max(n.sum(), 1)
    return np.where(n > 0, weights / max(mean, 1e-12), 1).astype(np.float32)
