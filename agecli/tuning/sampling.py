"""Optuna's sampler and pruners for a study."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna import Study, Trial
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from agecli.config import Choice, Dimension, Int, Pruner

STARTUP = 5
"""Trials that finish before the median pruner starts to prune."""


class SeededSampler(TPESampler):
    """Optuna's TPE (Watanabe 2023), seeded by study and trial: all workers draw the same."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the trial's own random generator."""
        seed = np.random.SeedSequence((self.seed, trial.number)).generate_state(1)[0]
        super().__init__(seed=int(seed), multivariate=True, constant_liar=True)
        super().before_trial(study, trial)


def make_pruner(name: Pruner, epochs: int) -> BasePruner:
    """Build a pruner: Hyperband (Li et al. 2018), the median rule, or none.

    No pruner judges a trial by its first epoch, nor by the first ninth of a long training:
    while the one-cycle rate is high, better settings often look worse.
    """
    first = max(2, epochs // 9)
    if name == "hyperband" and first < epochs:
        return HyperbandPruner(min_resource=first, max_resource=epochs, reduction_factor=3)
    if name == "median":
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=first)
    return NopPruner()


def suggest(trial: Trial, name: str, dimension: Dimension) -> Any:
    """Suggest a value of a trial's setting."""
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if isinstance(dimension, Int):
        return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def holds(dimension: Dimension, value: Any) -> bool:
    """Return whether a value lies in a dimension."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high
