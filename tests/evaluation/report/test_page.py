"""The page of a comparison, made of drawn figures."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agecli.ages import Scheme
from agecli.errors import UsageError
from agecli.evaluation import metrics, protocols, suite
from agecli.evaluation.report.page import write_page
from agecli.evaluation.scoring import Evaluation

SCHEME = Scheme.parse("adience8")


def make_result(name: str, seed: int) -> Evaluation:
    random = np.random.default_rng(seed)
    ages = np.random.default_rng(0).integers(0, 90, size=300)
    chances = random.dirichlet(np.ones(8), size=300)
    answered = ages + random.normal(size=300) * 5
    return Evaluation(
        model=name, title=name, weights=None, data=Path("data"), split="test", flip=False,
        same_split=True, scheme=SCHEME, rows=np.arange(300), ages=ages, distribution=chances,
        probabilities=chances, answered=answered,
        scores=metrics.score(chances, ages, SCHEME, answered),
        columns={"sex": np.array(["male", "female"] * 150), "race": np.array(["<b>"] * 300)},
        images_per_second=100.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    results = {name: make_result(name, seed) for seed, name in enumerate(("one", "two"), 1)}
    rows = [suite.describe(name, result) for name, result in results.items()]
    pairs = suite.pairs(list(results), list(results.values()))
    ids = np.array([f"{number}.jpg" for number in range(300)])
    folder = tmp_path_factory.mktemp("page")
    judged = protocols.judge(results, ["UTKFace"])
    files = write_page(folder, "Two & two", rows, pairs, judged, results, ids, None)
    return folder, files, rows, pairs


def test_the_page_needs_no_other_file(page):
    folder, files, _, _ = page
    text = files[0].read_text()
    assert text.count("data:image/png;base64,") == 6
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)', text)
    assert not outside and text.count("src=") == 6
    anchors = set(re.findall(r'href="#([^"]*)"', text))
    assert anchors == set(re.findall(r'<section id="([^"]*)"', text)) and len(anchors) == 7
    assert "Two &amp; two" in text and "race: &lt;b&gt;" in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert sorted(path.name for path in files) == sorted(p.name for p in folder.iterdir())


def test_markdown_and_html_tell_the_same_figures(page):
    _, files, rows, pairs = page
    for text in (file.read_text() for file in files[:2]):
        for row in rows:
            assert f"{row['exact']:.1%}" in text and f"{row['kappa']:.3f}" in text
            assert f"worst: {row['worst_slice']['exact']:.1%}" in text
            low, high = row["bootstrap"]["exact"]
            assert f"{100 * low:.1f} – {100 * high:.1f}" in text
        assert suite.verdict(pairs[0]) in text and "3.87 y" in text


def test_the_lead_names_the_best_model_and_its_worst_slice(page):
    _, files, rows, _ = page
    best = max(rows, key=lambda row: row["exact"])
    lead = files[1].read_text().split("\n\n")[1]
    assert lead.startswith(f"{best['name']} tells the age group of {best['exact']:.1%}")
    assert f"{best['worst_slice']['by']} {best['worst_slice']['value']}" in lead


def test_bars_stand_where_the_figures_say(page):
    _, files, rows, _ = page
    text = files[0].read_text()
    for row in rows:
        low, high = row["bootstrap"]["exact"]
        assert f'class=point style="left:{row["exact"]:.2%}"' in text
        assert f'class=reach style="left:{low:.2%};width:{high - low:.2%}"' in text
    assert text.count(f'class=base style="left:{rows[0]["majority"]:.2%}"') == len(rows)


def test_each_model_has_all_figures_of_its_slices(page):
    _, files, rows, _ = page
    for row in rows:
        part = row["slices"][0]
        line = f"| {part['exact']:.1%} | {100 * part['interval'][0]:.1f} – "
        line = line.replace("| ", "| worst: ", 1) if part == row["worst_slice"] else line
        assert line in files[1].read_text()


def test_a_model_of_another_split_is_marked_in_the_page(tmp_path: Path):
    result = replace(make_result("one", 1), same_split=False)
    rows = [suite.describe("one", result)]
    ids = np.arange(300).astype(str)
    files = write_page(tmp_path, "One", rows, [], [], {"one": result}, ids, None)
    for text in (file.read_text() for file in files[:2]):
        assert "one (*)" in text and "(*): trained on another split" in text


def test_the_surest_mistakes_are_listed_by_file(page):
    _, files, _, _ = page
    text = files[1].read_text()
    result = make_result("one", 1)
    truth = SCHEME.groups_of(result.ages)
    wrong = (truth >= 0) & (result.probabilities.argmax(axis=1) != truth)
    surest = np.flatnonzero(wrong)[result.probabilities.max(axis=1)[wrong].argmax()]
    table = text[text.index("most confident mistakes") :].splitlines()
    assert table[2].startswith(f"| {surest}.jpg | {result.ages[surest]} |")


def test_faces_are_shown_only_on_request(tmp_path: Path):
    result = make_result("one", 1)
    rows = [suite.describe("one", result)]
    ids = np.arange(300).astype(str)
    faces = np.zeros((300, 4, 4, 3), np.uint8)
    files = write_page(tmp_path, "One", rows, [], [], {"one": result}, ids, faces)
    assert files[0].read_text().count("<figure>") == 12
    assert "figure" not in files[1].read_text()


def test_a_gate_names_what_fails():
    row = suite.describe("one", make_result("one", 1))
    assert suite.check_gate("exact>=0", row) is None
    assert suite.check_gate("mae <= 50", row) is None
    failed = suite.check_gate("worst_slice>=0.99", row)
    assert failed and failed.startswith("one: worst_slice is")


@pytest.mark.parametrize(
    ("gate", "holds"),
    [("exact>=0.5", True), ("exact>=0.51", False), ("exact <= 0.5", True), ("exact<=0.49", False),
     ("difference>=-0.25", True), ("difference>=-0.24", False), ("worst_slice>=0.25", True),
     ("worst_slice<=0.2", False)],
)  # fmt: skip
def test_a_gate_holds_at_its_bound(gate: str, holds: bool):
    row = {"name": "one", "exact": 0.5, "difference": -0.25, "worst_slice": {"exact": 0.25}}
    assert (suite.check_gate(gate, row) is None) == holds


@pytest.mark.parametrize("gate", ["exact>0.5", "exact", ">=0.5", "name>=1", "mae<=5", "exact==1"])
def test_a_gate_of_no_figure_is_wrong_usage(gate: str):
    row = {"name": "one", "exact": 0.5, "worst_slice": None}
    with pytest.raises(UsageError, match=r"--gate: .*figures are exact$"):
        suite.check_gate(gate, row)


def test_the_ensembles_age_is_the_mean_of_those_that_give_one():
    results = [make_result("one", 1), make_result("two", 2), make_result("three", 3)]
    results[1] = replace(results[1], answered=None)
    together = suite.make_ensemble(results)
    assert together is not None
    mean = (results[0].answered + results[2].answered) / 2
    np.testing.assert_allclose(together.answered, mean)
    assert together.scores["mae"] == pytest.approx(np.abs(mean - results[0].ages).mean())
    none = suite.make_ensemble([replace(result, answered=None) for result in results])
    assert none is not None and none.answered is None and "mae" not in none.scores


def test_the_ensemble_averages_probabilities():
    results = [make_result("one", 1), make_result("two", 2)]
    together = suite.make_ensemble(results)
    assert together is not None
    mean = (results[0].probabilities + results[1].probabilities) / 2
    np.testing.assert_allclose(together.probabilities, mean)
    assert together.scores["exact"] == metrics.score(mean, results[0].ages, SCHEME)["exact"]
    assert together.images_per_second == 50
