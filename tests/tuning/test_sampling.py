"""Which trials are pruned, and when."""

import pytest
from optuna import create_study
from optuna.pruners import HyperbandPruner, MedianPruner

from agecli.tuning.sampling import make_pruner


def epochs_trained(name: str, epochs: int, trials: int = 12) -> list[int]:
    """Run trials of ever worse settings, and count their epochs."""
    study = create_study(direction="maximize", pruner=make_pruner(name, epochs))
    trained = []
    for number in range(trials):
        trial = study.ask()
        for epoch in range(1, epochs + 1):
            trial.report(epoch / epochs - number, epoch)
            if trial.should_prune():
                break
        trained.append(epoch)
        study.tell(trial, -number)
    return trained


@pytest.mark.parametrize("name", ["hyperband", "median"])
def test_hopeless_trials_are_pruned_but_not_at_once(name: str):
    trained = epochs_trained(name, 9)
    assert trained[0] == 9
    assert 2 <= min(trained) < 9


@pytest.mark.parametrize("name", ["hyperband", "median", "none"])
def test_trials_of_two_epochs_are_all_trained_to_the_end(name: str):
    assert epochs_trained(name, 2) == [2] * 12


def test_none_gives_up_nothing():
    assert epochs_trained("none", 9) == [9] * 12


def test_the_names_are_optunas():
    assert isinstance(make_pruner("hyperband", 36), HyperbandPruner)
    assert isinstance(make_pruner("median", 36), MedianPruner)
