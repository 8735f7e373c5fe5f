"""Two pictures side by side: what is said of them, by hand."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agecli.inference.ensemble import lead, together
from demo.models import Contender
from demo.pair import difference
from demo.results import kicker, results
from tests.demo.test_results import compared, contender, say  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ((5, 30.4), (5, 30.1), "Both get the group 0–2, and the same age."),
        ((5, 30.6), (5, 29.4), "Both get the group 0–2: the face in this picture looks 2 years"),
        ((5, 29.0), (1, 30.0), "0–2 in this picture, 8–13 in the earlier one: the face in the "
                               "earlier picture looks 1 year older."),
        ((5, None), (1, 30.0), "0–2 in this picture, 8–13 in the earlier one."),
    ],
)  # fmt: skip
def test_the_difference_in_words(contender: Contender, one, two, words: str):  # noqa: F811
    pictures = [
        compared(contender, say(p / 10, 0.1, 0.9 - p / 10, age=age)) for p, age in (one, two)
    ]
    assert difference(*pictures).startswith(words)


def test_both_answers_stand_side_by_side(contender: Contender, tmp_path: Path):  # noqa: F811
    this = compared(contender, say(0.7, 0.2, 0.1, age=2), say(0.6, 0.2, 0.2, age=1))
    other = compared(contender, say(0.1, 0.3, 0.6, age=9), error="No <good>")
    page = results(this, replace(other, answers=[*other.answers[:1], *other.answers[1:]]))
    section = re.search(r'<section class="pair-of".*?</section>', page, re.DOTALL)[0]
    assert re.findall(r'class="group">(.*?)<', section) == ["0–2", "8–13"]
    assert re.findall(r"--p:([0-9.]+)", section) == [
        "0.6500", "0.1000", "0.2000", "0.3000", "0.1500", "0.6000",
    ]  # fmt: skip
    assert section.count('<th scope="row">') == 1  # of the models, the one that answers for both
    assert "<b>.jpg" not in section
    assert "pair-of" not in results(this)


@pytest.mark.parametrize(
    ("models", "fitted", "words"),
    [(1, False, "<i>"), (2, False, "The mean of <i> and <i>"), (2, True, "Two models together")],
)
def test_the_first_answer_says_what_it_is_of(
    contender: Contender, models: int, fitted: bool, words: str  # noqa: F811
):  # fmt: skip
    rows = [say(0.8, 0.1, 0.1)] * models
    joint = [replace(say(0.4, 0.5, 0.1), model="ensemble")] * fitted
    all_rows = [*joint, *rows]
    comparison = replace(
        compared(contender, *rows), ensemble=together(all_rows), first=lead(all_rows),
        fitted=fitted,
    )  # fmt: skip
    assert kicker(comparison) == words
