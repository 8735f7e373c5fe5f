"""The demo asks a fitted ensemble as `agecli predict` does."""

from pathlib import Path

import pytest

from agecli.inference.fitted import find_fitted
from agecli.inference.predictor import Predictor
from demo.batch import answer, leads
from demo.compare import compare
from demo.models import find_contenders, find_ensemble, make_reader
from demo.reading import read_picture
from tests.demo.pictures import PORTRAIT
from tests.inference.test_fitted import write_fitted
from tests.inference.test_predictor import write_toy

MOST = 10**8


@pytest.mark.parametrize("better", [True, False])
def test_an_ensemble_answers_as_in_predict(tmp_path: Path, better: bool):
    one = write_toy(tmp_path / "one.safetensors", outputs=8)
    two = write_toy(tmp_path / "two.safetensors", size=48, outputs=101)
    write_fitted({two: 0.8, one: 0.4}, better=better)
    contenders = find_contenders([tmp_path], "cpu")
    assert [contender.name for contender in contenders] == ["two", "one"]
    fitted = find_fitted([two, one]).fitted
    rows = list(Predictor([two, one], device="cpu", ensemble=fitted).predict([PORTRAIT]))
    joint = rows[0 if better else 2]

    file = PORTRAIT.name, PORTRAIT.read_bytes()
    reader = make_reader(contenders)
    said = compare(contenders, read_picture(*file, reader, MOST))
    assert said.ensemble
    assert said.ensemble.probabilities == joint.probabilities
    assert (said.ensemble.group, said.ensemble.age) == (joint.group, joint.age)
    assert said.first == (said.ensemble if better else said.answers[0].prediction)
    assert [row["model"] for row in said.record()["answers"]] == ["cnn", "cnn"]

    _, many = answer(contenders, reader, file, MOST)
    names = ["ensemble", "two", "one"] if better else ["two", "one", "ensemble"]
    assert [row.model for row in many] == names
    assert [row.probabilities for row in many] == [row.probabilities for row in rows]
    ((_, first),) = leads(many)
    assert first and first.group == rows[0].group and first.label == rows[0].label


def test_a_model_that_cannot_answer_leaves_the_plain_mean(tmp_path: Path):
    paths = [write_toy(tmp_path / f"{n}.safetensors", size=n, outputs=8) for n in (32, 48)]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"none")
    write_fitted({path: 1 for path in [*paths, broken]})
    contenders = find_contenders([tmp_path], "cpu")
    assert find_ensemble(*(contender.path for contender in contenders)).fitted
    said = compare(
        contenders, read_picture("a", PORTRAIT.read_bytes(), make_reader(contenders), MOST)
    )
    rows = [one.prediction.probabilities for one in said.answers if one.prediction]
    assert said.ensemble and said.first == said.ensemble and said.ensemble.models == 2
    for group, chance in said.ensemble.probabilities.items():
        assert chance == pytest.approx(sum(row[group] for row in rows) / 2, abs=1e-4)
