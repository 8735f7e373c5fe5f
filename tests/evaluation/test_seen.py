"""Images that models have seen are left out, whatever data set they lie in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agecli.data.seen import fingerprints_of, merge
from agecli.data.store import ALL, open_dataset
from agecli.errors import DataError, UsageError
from agecli.evaluation.seen import leave_out_seen
from agecli.evaluation.suite import evaluate
from tests.evaluation.toys import PER_SPLIT, write_data, write_weights
from tests.exporting.models import add_fingerprints


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def write_seen(path: Path, data: Path, rows: np.ndarray, **options) -> Path:
    """Write weights that have seen some images of a data set."""
    prints = merge(fingerprints_of(open_dataset(data), rows))
    return add_fingerprints(write_weights(path, **options), prints)


def test_of_other_data_what_is_new_is_scored_and_stands_unmarked(data, tmp_path):
    test = open_dataset(data).rows("test")
    model = write_seen(tmp_path / "a.safetensors", data, test[:5], split_hash="other")
    suite = evaluate(model, data=data, device="cpu")
    (row,) = suite.models
    assert row.rows.tolist() == test[5:].tolist()
    assert (row.left_out, row.same_split, row.may_have_seen) == (5, False, False)
    assert suite.left_out_note == "5 images are left out: the model has seen them, or near copies."
    summary = json.loads(json.dumps(row.summary()))
    assert (summary["left_out"], summary["may_have_seen"]) == (5, False)
    known = evaluate(model, data=data, split="val", device="cpu")
    assert known.left_out == known.models[0].left_out == 0
    assert known.left_out_note.startswith("All images are new to the model")


def test_of_several_models_what_none_has_seen_is_scored(data, tmp_path):
    test = open_dataset(data).rows("test")
    models = [
        write_seen(tmp_path / "a.safetensors", data, test[:5], split_hash="a"),
        write_seen(tmp_path / "b.safetensors", data, test[3:9], split_hash="b"),
        write_weights(tmp_path / "own.safetensors"),  # of this split: test images are new to it
    ]
    suite = evaluate(*models, data=data, device="cpu")
    assert [row.rows.tolist() for row in suite.rows] == [test[9:].tolist()] * 4
    assert [row.left_out for row in suite.rows] == [9, 9, None, 9]
    assert not any(row.may_have_seen for row in suite.rows)
    assert "one of the models has seen" in suite.left_out_note


def test_all_are_the_images_of_all_splits_but_those_of_its_own_training(data, tmp_path):
    dataset = open_dataset(data)
    learned = np.concatenate([dataset.rows("train"), dataset.rows("val")])
    model = write_seen(tmp_path / "own.safetensors", data, learned)
    (row,) = evaluate(model, data=data, split=ALL, device="cpu").models
    assert row.rows.tolist() == dataset.rows("test").tolist()
    assert row.left_out == 2 * PER_SPLIT and not row.may_have_seen
    (row,) = evaluate(model, data=data, device="cpu").models
    assert row.left_out is None and not row.may_have_seen


def test_who_does_not_say_is_refused_or_marked(data, tmp_path):
    own, other = (
        write_weights(tmp_path / f"{name}.safetensors", **options)
        for name, options in (("own", {}), ("other", {"split_hash": "other"}))
    )
    dataset = open_dataset(data)
    with pytest.raises(DataError, match=r"other.safetensors was trained on another split.*--force"):
        leave_out_seen([own, other], dataset, "test")
    with pytest.raises(
        DataError, match=r"own.safetensors does not record .* --split test, or --force"
    ):
        leave_out_seen([own], dataset, ALL)
    (row,) = evaluate(own, data=data, split=ALL, device="cpu", force=True).models
    assert row.may_have_seen and row.left_out is None and len(row.rows) == 3 * PER_SPLIT
    known = write_seen(tmp_path / "a.safetensors", data, dataset.rows("test")[:5], split_hash="a")
    suite = evaluate(known, other, data=data, device="cpu", force=True)
    assert [row.may_have_seen for row in suite.rows] == [False, True, True]
    unknown = replace(suite, left_out=0)
    assert suite.left_out_note and not unknown.left_out_note


def test_where_nothing_is_new_it_is_reported(data, tmp_path):
    dataset = open_dataset(data)
    model = write_seen(tmp_path / "a.safetensors", data, dataset.rows("test"), split_hash="a")
    with pytest.raises(DataError, match=r"No image of the test split .* is new to the models"):
        leave_out_seen([model], dataset, "test")


def test_figures_on_other_data_are_stored_in_no_weights_file(data, tmp_path):
    model = write_seen(tmp_path / "a.safetensors", data, np.arange(1), split_hash="a")
    with pytest.raises(UsageError, match=r"--store: .*another split"):
        evaluate(model, data=data, device="cpu", robustness=True, store=True)
