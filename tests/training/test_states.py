"""A run's state is restored only if it is its own model's, shape by shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agecli.errors import TrainingError
from agecli.training.pytorch import train
from agecli.training.runs import Run
from agecli.training.states import check_form, check_optimizer
from tests.training.test_loop import run_training, small

LIKE = {"w": torch.zeros(2), "n": 3, "best": None, "name": "cos", "parts": [1.0, {"x": True}]}


@pytest.mark.parametrize(
    "change", [{}, {"n": None}, {"best": 0.5}, {"w": torch.ones(2)}, {"parts": (2, {"x": False})}]
)
def test_the_same_form_is_let_through(change: dict):
    check_form(LIKE | change, LIKE)


@pytest.mark.parametrize(
    ("state", "part"),
    [([], "state has different keys"), (LIKE | {"more": 1}, "state has different keys"),
     (LIKE | {"w": torch.zeros(3)}, r"state\.w has a different shape"),
     (LIKE | {"w": torch.zeros(2, dtype=torch.int64)}, r"state\.w has a different shape or type"),
     (LIKE | {"w": None}, r"state\.w"), (LIKE | {"n": "3"}, r"state\.n is not finite"),
     (LIKE | {"name": 3}, r"state\.name has a different type"),
     (LIKE | {"parts": [1.0]}, r"state\.parts has a different length"),
     (LIKE | {"parts": [1.0, {"x": 1}]}, r"state\.parts\.1\.x has a different type")],
)  # fmt: skip
def test_another_form_is_refused_by_its_part(state: Any, part: str):
    with pytest.raises(ValueError, match=part):
        check_form(state, LIKE)


def make_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), 0.1)


def test_an_optimisers_own_state_fits_and_another_ones_does_not():
    model, optimizer = make_optimizer()
    model(torch.ones(1, 3)).sum().backward()
    check_optimizer(optimizer.state_dict(), optimizer)  # no step was taken yet
    optimizer.step()
    state = optimizer.state_dict()
    check_optimizer(state, make_optimizer()[1])
    state["state"][0]["exp_avg"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"optimizer\.0\.exp_avg has a different shape"):
        check_optimizer(state, optimizer)


@pytest.fixture(scope="module")
def run(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of one epoch, which is to have two."""
    folder = tmp_path_factory.mktemp("states") / "run"
    run = run_training(small(dataset_folder, epochs=1), folder)
    run.configure(small(dataset_folder, epochs=2))
    return run


def first_moment(state: dict) -> dict:
    return state["optimizer"]["state"][0]


@pytest.mark.parametrize(
    "change",
    [lambda state: state.pop("model"),
     lambda state: state.update(model=[]),
     lambda state: state["model"].popitem(),
     lambda state: state["model"].update({"head.2.bias": torch.zeros(3)}),
     lambda state: state.update(average=None),
     lambda state: state.update(optimizer=3),
     lambda state: state["optimizer"].update(state=[]),
     lambda state: state["optimizer"].update(param_groups=[]),
     lambda state: state["optimizer"]["state"].update({999: {}}),
     lambda state: first_moment(state).pop("exp_avg"),
     lambda state: first_moment(state).update(exp_avg=torch.zeros(1)),
     lambda state: state["schedule"].pop("last_epoch"),
     lambda state: state["schedule"].update(last_epoch="x"),
     lambda state: state["schedule"].update(last_epoch=10**6)],
)  # fmt: skip
def test_a_state_that_does_not_fit_its_run_is_refused(run: Run, change: Callable[[dict], object]):
    content = run.state.read_bytes()
    state = torch.load(run.state, weights_only=True)
    change(state)
    torch.save(state, run.state)
    try:
        with pytest.raises(
            TrainingError, match=r"state\.pt does not fit its run .*new run"
        ) as caught:
            train(Run.open(run.folder)[1], run)
    finally:
        run.state.write_bytes(content)
    assert "\n" not in str(caught.value)
