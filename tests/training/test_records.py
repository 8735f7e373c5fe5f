"""Records of a training, as files of this and of earlier versions store them."""

import json

import pytest

from agecli.training.records import Epoch, Validation, is_best, is_over

LINE = {
    "epoch": 3, "train_loss": 4.5, "lr": 1e-3, "images_per_second": 90.5, "val_loss": 4.25,
    "val_exact": 0.5, "val_one_off": 0.75, "val_macro_f1": 0.25, "val_mae": 6.5, "seconds": 12.5,
    "best": True,
}  # fmt: skip


def epoch(*, best: bool = False, loss: float = 1.0) -> Epoch:
    return Epoch(1, 1.0, 1e-3, 100.0, 1.0, best, Validation(loss))


@pytest.mark.parametrize("more", [{}, {"phase": "head"}, {"weight_decay": 0.02}], ids=str)
def test_a_line_of_metrics_is_read_and_written_as_it_was(more: dict):
    line = LINE | more
    read = Epoch.from_plain(json.loads(json.dumps(line)))
    assert (read.epoch, read.val.loss, read.val.mae, read.best) == (3, 4.25, 6.5, True)
    assert read.to_plain() == line


def test_a_model_without_years_and_an_earlier_line_with_more_are_read():
    line = {name: value for name, value in LINE.items() if name != "val_mae"}
    read = Epoch.from_plain(line | {"gradient_norm": 1.0})
    assert read.val.mae is None
    assert read.to_plain() == line


def test_the_best_is_lower_than_all_before():
    assert is_best([], 9.0)
    assert is_best([epoch(loss=2.0), epoch(loss=1.0)], 0.5)
    assert not is_best([epoch(loss=2.0), epoch(loss=1.0)], 1.0)
    assert not is_best([epoch()], float("nan"))


@pytest.mark.parametrize(("patience", "over"), [(0, False), (2, True), (3, False)])
def test_patience_counts_from_the_best_epoch_on(patience: int, over: bool):
    history = [epoch(best=best) for best in (True, True, False, False)]
    assert is_over(history, 5, patience) == over
    assert is_over([*history, epoch()], 5, patience)  # all epochs are done
