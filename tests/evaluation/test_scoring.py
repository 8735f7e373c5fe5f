"""Scoring on a tiny data set whose images are the ages, by models that read them there."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agecli.ages import YEARS, Age, Scheme
from agecli.data import store
from agecli.data.manifest import ManifestRow, write_manifest
from agecli.data.receipt import Receipt
from agecli.data.split import split_hash
from agecli.decision import LIKELIEST, MEDIAN
from agecli.errors import DataError, WeightsError
from agecli.evaluation.scoring import evaluate_model
from agecli.inference.model import Model

AGES = [1, 5, 28, 22, 65, 30, 9, 70]
SPLITS = ["test", "test", "test", "test", "test", "val", "train", "test"]
EXCLUDED = ["", "", "", "", "", "", "", "duplicate"]
SAME = split_hash([f"{i:064}" for i in range(len(AGES))], SPLITS)


@pytest.fixture
def dataset(tmp_path):
    rows = [
        ManifestRow(
            f"{i}.jpg", "drawn", f"{i:064}", Age.parse(str(age)), "", "", "", -1, i, split, excluded
        )
        for i, (age, split, excluded) in enumerate(zip(AGES, SPLITS, EXCLUDED, strict=True))
    ]
    write_manifest(tmp_path / store.MANIFEST, rows)
    images = np.ones((len(AGES), 4, 4, 3), np.uint8) * np.array(AGES, np.uint8)[:, None, None, None]
    np.save(tmp_path / store.IMAGES, images)
    Receipt(split_hash=SAME, scheme=Scheme.parse("adience8").labels).write(tmp_path / store.RECEIPT)
    return store.open_dataset(tmp_path)


def says(split_hash=SAME, knows_years=True):
    return SimpleNamespace(
        model="cnn", title="", split_hash=split_hash, temperature=1.0, knows_years=knows_years,
        decision=LIKELIEST, sets=None,
    )  # fmt: skip


class Reader(Model):
    """A model that finds an image's age in its pixels, and is `wrong` years off."""

    path = Path("reader.safetensors")
    scheme = Scheme.parse("adience8")

    def __init__(self, *, outputs=YEARS, wrong=0):
        self.outputs, self.wrong, self.calls = outputs, wrong, []
        self.metadata = says(knows_years=outputs == YEARS)

    def distributions(self, images, flip=True):
        assert images.dtype == np.uint8 and images.shape[1:] == (4, 4, 3)
        self.calls.append((len(images), flip))
        ages = images[:, 0, 0, 0].astype(int) + self.wrong
        answers = ages if self.outputs == YEARS else self.scheme.nearest_groups(ages)
        return np.eye(self.outputs, dtype=np.float32)[answers]


def test_a_perfect_model_is_perfect(dataset):
    result = evaluate_model(Reader(), dataset)

    assert result.rows.tolist() == [0, 1, 2, 3, 4]  # the split's, without the excluded one
    assert result.ages.tolist() == [[age, age] for age in (1, 5, 28, 22, 65)]
    assert (result.scores.n, result.scores.n_ages) == (4, 5)  # 22 is in no group
    assert result.scores.exact == 1 and result.scores.mae == 0
    assert result.probabilities.shape == (5, 8) and result.answered.shape == (5,)


def test_the_rule_of_the_file_decides_what_is_scored(dataset):
    class Doubtful(Reader):
        """Says 0.35, 0.3, 0.35 of the group before the true one, that one, and the next."""

        def distributions(self, images, flip=True):
            own = super().distributions(images, flip)
            return 0.35 * np.roll(own, -1, 1) + 0.3 * own + 0.35 * np.roll(own, 1, 1)

    model = Doubtful(outputs=8)
    likeliest = evaluate_model(model, dataset)
    model.metadata.decision = MEDIAN
    median = evaluate_model(model, dataset)
    inner = median.truth % 7 > 0  # neither the youngest group nor the oldest
    assert (likeliest.answers == median.truth)[inner].sum() == 0
    assert (median.answers == median.truth)[inner & (median.truth > 0)].all()
    np.testing.assert_array_equal(median.probabilities, likeliest.probabilities)
    assert median.scores.exact == np.mean((median.answers == median.truth)[median.truth >= 0])
    assert median.decision is MEDIAN
    assert median.scores.ece == likeliest.scores.ece


def test_ages_off_are_counted_in_years(dataset):
    scores = evaluate_model(Reader(wrong=7), dataset).scores
    assert scores.mae == pytest.approx(7, abs=1e-4) and scores.cs5 == 0
    assert scores.exact == 1 / 4  # 65 + 7 stays in 60+


def test_a_model_of_groups_has_no_years(dataset):
    result = evaluate_model(Reader(outputs=8), dataset)
    assert result.answered is None and result.scores.mae is None
    assert result.scores.exact == 1


def test_batches_and_flip_reach_the_model_and_progress_the_caller(dataset):
    model, seen = Reader(), []
    evaluate_model(
        model, dataset, flip=True, batch_size=2, progress=lambda *done: seen.append(done)
    )
    assert model.calls == [(2, True), (2, True), (1, True)]
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_the_summary_is_json_and_names_what_was_scored(dataset):
    model = Reader()
    model.path = dataset.folder / "reader.safetensors"
    model.path.write_bytes(b"8 bytes.")
    summary = evaluate_model(model, dataset, "val").summary()
    assert summary["split"] == "val" and summary["n"] == 1 and summary["same_split"]
    assert summary["data"] == str(dataset.folder) and summary["weights"] == str(model.path)
    assert summary["bytes"] == 8
    assert summary["name"] == "cnn" and summary["worst_slice"] is None  # one image is too few
    summary["bootstrap"] = {name: list(ends) for name, ends in summary["bootstrap"].items()}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_images_of_several_sources_are_sliced_by_them(dataset):
    assert {part.by for part in evaluate_model(Reader(), dataset).slices} == {"age group"}
    sources = np.array(["streets", "streets", "streets", "studio", "studio", "", "", ""])
    both = replace(dataset, sources=sources)
    parts = [part for part in evaluate_model(Reader(), both).slices if part.by == "source"]
    assert [(part.value, part.n) for part in parts] == [("streets", 3), ("studio", 1)]  # of groups


def test_images_are_sliced_by_the_columns_that_were_kept(dataset):
    hair = np.array(["light", "dark", "light", "light", "", "dark", "", ""])
    result = evaluate_model(Reader(), replace(dataset, slices={"hair": hair}))
    parts = [(part.by, part.value, part.n) for part in result.slices if part.by == "hair"]
    assert parts == [("hair", "dark", 1), ("hair", "light", 2)]  # 22 is in no group
    assert {"by": "hair", "value": "light", "n": 2}.items() <= result.metrics()["slices"][1].items()


def test_weights_of_another_split_are_known(dataset):
    model = Reader()
    model.metadata = says(split_hash="other")
    assert not evaluate_model(model, dataset).same_split


def test_a_split_without_images_of_a_group_says_what_to_do(dataset):
    model = Reader()
    model.scheme = Scheme.parse("40-50,51-60")
    with pytest.raises(DataError, match=r"test split of .* 40-50, 51-60: choose another --split"):
        evaluate_model(model, dataset)


def test_answers_that_are_not_numbers_are_an_error(dataset):
    model = Reader()
    model.distributions = lambda images, flip: np.full((len(images), YEARS), np.nan)
    with pytest.raises(WeightsError, match=r"reader\.safetensors outputs NaN"):
        evaluate_model(model, dataset)
