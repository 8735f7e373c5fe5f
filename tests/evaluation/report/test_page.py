"""The page of an evaluation, made of drawn figures."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agecli.ages import Scheme
from agecli.evaluation import metrics
from agecli.evaluation.ensembles import make_ensemble
from agecli.evaluation.report.page import write_page
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.suite import Suite, compare_models

SCHEME = Scheme.parse("adience8")
DATASET = SimpleNamespace(
    folder=Path("two & two"),
    ids=np.array([f"{number}.jpg" for number in range(300)]),
    images=np.zeros((300, 4, 4, 3), np.uint8),
)


def make_result(name: str, seed: int) -> Evaluation:
    random = np.random.default_rng(seed)
    ages = np.random.default_rng(0).integers(0, 90, size=300)
    chances = random.dirichlet(np.ones(8), size=300)
    answered = ages + random.normal(size=300) * 5
    return Evaluation(
        name=name, model=name, title=name, weights=None, data=Path("data"), split="test",
        flip=False, same_split=True, scheme=SCHEME, rows=np.arange(300),
        ages=np.stack([ages, ages], axis=1),
        distribution=chances, probabilities=chances, answered=answered,
        scores=metrics.score(chances, ages, SCHEME, answered),
        columns={"sex": np.array(["male", "female"] * 150), "race": np.array(["<b>"] * 300)},
        images_per_second=100.0,
    )  # fmt: skip


def make_suite(*results: Evaluation) -> Suite:
    models = list(results)
    return Suite(DATASET, models, make_ensemble(models), compare_models(models), {}, None)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    suite = make_suite(make_result("one", 1), make_result("two", 2))
    folder = tmp_path_factory.mktemp("page")
    return folder, write_page(folder, {DATASET.folder.name: suite}), suite


def test_the_page_needs_no_other_file(page):
    folder, files, _ = page
    text = files[0].read_text()
    assert text.count("data:image/png;base64,") == 12
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)', text)
    assert not outside and text.count("src=") == 12
    anchors = set(re.findall(r'href="#([^"]*)"', text))
    assert anchors == set(re.findall(r'<section id="([^"]*)"', text)) and len(anchors) == 8
    assert "one, two on two &amp; two" in text and "race: &lt;b&gt;" in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert sorted(path.name for path in files) == sorted(p.name for p in folder.iterdir())


def test_markdown_and_html_tell_the_same_figures(page):
    _, files, suite = page
    for text in (file.read_text() for file in files[:2]):
        for row in suite.rows:
            assert f"{row.scores.exact:.1%}" in text and f"{row.scores.kappa:.3f}" in text
            assert f"worst: {row.worst_slice.exact:.1%}" in text
            low, high = row.intervals["exact"]
            assert f"{100 * low:.1f} – {100 * high:.1f}" in text
        assert suite.pairs[0].verdict in text


def test_the_lead_names_the_best_model_and_its_worst_slice(page):
    _, files, suite = page
    best = max(suite.rows, key=lambda row: row.scores.exact)
    lead = files[1].read_text().split("\n\n")[1]
    assert lead.startswith(f"{best.name} predicts the age group of {best.scores.exact:.1%}")
    assert f"{best.worst_slice.by} {best.worst_slice.value}" in lead


def test_bars_stand_where_the_figures_say(page):
    _, files, suite = page
    text = files[0].read_text()
    for row in suite.rows:
        low, high = row.intervals["exact"]
        assert f'class=point style="left:{row.scores.exact:.2%}"' in text
        assert f'class=reach style="left:{low:.2%};width:{high - low:.2%}"' in text
    assert text.count(f'class=base style="left:{suite.rows[0].scores.majority:.2%}"') == 3


def test_each_model_has_all_figures_of_its_slices(page):
    _, files, suite = page
    for row in suite.rows:
        part = row.slices[0]
        line = f"| {part.exact:.1%} | {100 * part.interval[0]:.1f} – "
        line = line.replace("| ", "| worst: ", 1) if part == row.worst_slice else line
        assert line in files[1].read_text()


def test_a_model_of_another_split_is_marked_in_the_page(tmp_path: Path):
    result = replace(make_result("one", 1), same_split=False)
    files = write_page(tmp_path, {"data": make_suite(result)})
    for text in (file.read_text() for file in files[:2]):
        assert "one (*)" in text and "(*): trained on another split" in text


def test_images_that_were_seen_are_counted_in_the_page(tmp_path: Path):
    result = replace(make_result("one", 1), same_split=False, left_out=3)
    files = write_page(tmp_path, {"data": replace(make_suite(result), left_out=3)})
    for text in (file.read_text() for file in files[:2]):
        assert "3 images are left out: the model has seen them, or near copies." in text
        assert "(*)" not in text


def test_the_surest_mistakes_are_listed_by_file(page):
    _, files, _ = page
    text = files[1].read_text()
    result = make_result("one", 1)
    truth = SCHEME.groups_of(result.ages)
    wrong = (truth >= 0) & (result.probabilities.argmax(axis=1) != truth)
    surest = np.flatnonzero(wrong)[result.probabilities.max(axis=1)[wrong].argmax()]
    table = text[text.index("most confident errors") :].splitlines()
    assert table[2].startswith(f"| {surest}.jpg | {result.ages[surest, 0]} |")


def test_faces_are_shown_only_on_request(tmp_path: Path):
    files = write_page(tmp_path, {"data": make_suite(make_result("one", 1))}, show_faces=True)
    assert files[0].read_text().count("<figure>") == 12
    assert "figure" not in files[1].read_text()
