"""Age sets in tables, against what was measured."""

from dataclasses import replace

import pytest

from agecli.errors import UsageError
from agecli.evaluation.gates import check_gate
from agecli.evaluation.report.grid import Worst
from agecli.evaluation.report.sets import coverage_grid, describe_worst, sets_grids
from agecli.sets import Sets
from tests.evaluation.report.test_page import make_result

ROW = (0.8, 0.9, 0.95)
SETS = Sets((0.125,) * 8, (ROW,) * 3)


def test_models_with_sets_and_without_stand_beside_each_other():
    rows = [replace(make_result("one", 1), sets=SETS), make_result("two", 2)]
    risk, whole, parts = sets_grids(rows)
    cells = [row.cells for row in whole.rows]
    assert [row[:2] for row in cells] == [
        ("one", "80%"), ("one", "90%"), ("one", "95%"), ("two", "no sets"),
    ]  # fmt: skip
    ninety = rows[0].coverages[1]
    assert cells[1][2] == f"{ninety.whole.coverage:.1%}"
    assert cells[1][4:7] == (f"{ninety.whole.size:.2f}", "", "")  # it knows no years
    assert risk.rows[0].cells[-1] == f"{rows[0].risk['exact_half']:.1%}"
    assert parts.head == ["slice", "images", "one"]
    (worst,) = (row.cells for row in parts.rows if isinstance(row.cells[-1], Worst))
    low = ninety.worst
    assert worst[0] == f"{low.by}: {low.value}" and worst[-1].startswith(f"{low.coverage:.1%}")
    assert f"one in {low.by} {low.value} ({low.coverage:.1%}" in describe_worst(rows)
    assert len(sets_grids(rows[1:])) == 1 and coverage_grid(rows[1:]).rows == []


def test_a_gate_holds_a_coverage_against_its_bound():
    row = replace(make_result("one", 1), sets=SETS)
    covered = row.coverages[1].whole.coverage
    assert check_gate(f"coverage90>={covered - 0.01}", row) is None
    assert check_gate("coverage90>=1.01", row) == f"one: coverage90 is {covered:.4g}, not >= 1.01"
    assert check_gate("aurc<=1", row) is None and check_gate("set_size95>=1", row) is None
    with pytest.raises(UsageError, match="no figure 'coverage90'"):
        check_gate("coverage90>=0.8", make_result("two", 2))
