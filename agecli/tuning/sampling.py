"""How Optuna draws a study's trials and gives up hopeless ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from agecli.config import Choice, Dimension, Int, Pruner

STARTUP = 5
"""Trials that the median pruner lets finish before it compares."""


class SeededSampler(BaseSampler):
    """Optuna's TPE (Watanabe 2023), seeded by study and trial: any worker draws the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inner = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Start the trial's own randomness."""
        seed = np.random.SeedSequence((self.seed, trial.number)).generate_state(1)[0]
        self.inner = TPESampler(seed=int(seed), multivariate=True, constant_liar=True)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Leave it to TPE."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Leave it to TPE."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Leave it to TPE."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Leave it to TPE."""
        self.inner.after_trial(study, trial, state, values)


def make_pruner(name: Pruner, epochs: int) -> BasePruner:
    """Build a pruner: Hyperband (Li et al. 2018), the median rule, or none.

    None judges a trial by its first epoch, nor by the first ninth of a long training: while
    one-cycle's rate is high the better settings often look worse.
    """
    first = max(2, epochs // 9)
    if name == "hyperband" and first < epochs:
        return HyperbandPruner(min_resource=first, max_resource=epochs, reduction_factor=3)
    if name == "median":
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=first)
    return NopPruner()


def suggest(trial: Trial, name: str, dimension: Dimension) -> Any:
    """Draw a setting of a trial."""
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if isinstance(dimension, Int):
        return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def holds(dimension: Dimension, value: Any) -> bool:
    """Return whether a value is one of a dimension's."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high
