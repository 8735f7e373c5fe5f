"""Models on several data sets: each figure as on that data set alone."""

from pathlib import Path

import pytest

from agecli.errors import DataError, UsageError
from agecli.evaluation.across import evaluate_each
from agecli.evaluation.report.tables import across_grid
from agecli.evaluation.suite import evaluate
from tests.evaluation.toys import write_data, write_weights


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("data")
    return [write_data(folder / name, seed=seed) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("weights")
    return [write_weights(folder / f"{name}.safetensors", seed=seed)
            for seed, name in enumerate(("red", "blue"))]  # fmt: skip


def test_each_data_set_has_the_figures_that_it_has_alone(data, weights):
    stages = []
    suites = evaluate_each(
        *weights, data=data, device="cpu", progress=lambda stage, *_: stages.append(stage)
    )
    assert list(suites) == ["one", "two"]
    assert list(dict.fromkeys(stages)) == [
        f"{path} on {name}" for name in ("one", "two") for path in weights
    ]
    for folder, suite in zip(data, suites.values(), strict=True):
        alone = evaluate(*weights, data=folder, device="cpu")
        assert [row.scores for row in suite.rows] == [row.scores for row in alone.rows]
        assert suite.pairs == alone.pairs
        assert {line["data"] for line in suite.lines()} == {str(folder)}
    one, two = suites.values()
    assert one.rows[0].scores != two.rows[0].scores


def test_the_table_has_a_row_for_each_model_and_data_set_and_its_majority(data, weights):
    suites = evaluate_each(*weights, data=data, device="cpu")
    grid = across_grid(suites)
    assert [row.cells[:2] for row in grid.rows] == [
        (name, model) for name in ("one", "two")
        for model in ("red", "blue", "ensemble", "always 25-32")
    ]  # fmt: skip
    rows = [row for suite in suites.values() for row in suite.rows]
    shown = [row.cells for row in grid.rows if row.style != "base"]
    for row, cells in zip(rows, shown, strict=True):
        assert cells[2:4] == (f"{row.scores.n:,}", f"{row.scores.exact:.1%}")
        assert cells[-1] == f"{row.scores.mae:.2f} y"
    for suite, style in ((suite, "best") for suite in suites.values()):
        best = max(suite.rows, key=lambda row: row.scores.exact)
        cells = [row.cells for row in grid.rows if row.style == style]
        assert f"{best.scores.exact:.1%}" in [cell[3] for cell in cells]
    assert [row.style for row in grid.rows].count("best") == 2


def test_what_cannot_be_done_is_reported_before_the_work(data, weights, tmp_path):
    def work(*_: object) -> None:
        raise AssertionError("it has begun to work")

    with pytest.raises(DataError, match=f"No manifest.csv in {tmp_path}"):
        evaluate_each(*weights, data=[*data, tmp_path], progress=work)
    with pytest.raises(UsageError, match=r"--data: .*one is given twice"):
        evaluate_each(*weights, data=[data[0], data[0].parent / "." / "one"], progress=work)
    with pytest.raises(UsageError, match=r"--store: .* pass one --data"):
        evaluate_each(*weights, data=data, store=True, robustness=True, progress=work)
