"""What the page says, from answers made by hand."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agecli.faces import Face
from agecli.inference.ensemble import lead, together
from agecli.inference.pictures import Reading
from agecli.inference.prediction import Prediction
from demo.batch import check, faces_csv, to_csv
from demo.compare import Answer, Comparison
from demo.models import Contender
from demo.pictures import heat_over
from demo.reading import Picture, Refused
from demo.render import render
from demo.results import results
from tests.exporting.models import METRICS, write_model

FACE = Face((1, 2, 31, 32), 0.9)
CROP = np.full((32, 32, 3), 120, np.uint8)


def say(*chances: float, age: float | None = None) -> Prediction:
    labels = ["0-2", "4-6", "8-13"]
    best = int(np.argmax(chances))
    return Prediction(
        "<b>.jpg", FACE, "cnn", labels[best], chances[best],
        dict(zip(labels, chances, strict=True)), age, torn=False,
    )  # fmt: skip


@pytest.fixture
def contender(tmp_path: Path) -> Contender:
    confusion = (np.eye(8, dtype=int) * 9 + 1).tolist()
    metrics = METRICS | {"confusion": confusion}
    path = write_model(tmp_path / "<i>.safetensors", metrics=metrics, title="A <title>")
    return Contender(path, "cpu")


def compared(contender: Contender, *predictions: Prediction, error: str | None = None):
    answers = [Answer(contender, row, 0.0123, crop=CROP) for row in predictions]
    if error:
        answers.append(Answer(contender, error=error))
    picture = Picture("<b>.jpg", b"", (40, 40), Reading("<b>.jpg", "ok", faces=[FACE]))
    return Comparison(picture, 0, 0.0, CROP, answers, together(predictions), lead(predictions))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(0.8, 0.1, 0.1)], "Only one model is here"),
        ([(0.8, 0.1, 0.1), (0.7, 0.2, 0.1)], "Both say 0–2."),
        ([(0.8, 0.1, 0.1)] * 3, "All three say 0–2."),
        (
            [(0.8, 0.1, 0.1), (0.8, 0.1, 0.1), (0.4, 0.5, 0.1)],
            "Two of three say 0–2; the other is in a neighbouring group.",
        ),
        (
            [(0.8, 0.1, 0.1), (0.3, 0.2, 0.5), (0.1, 0.5, 0.4)],
            "One of three says 4–6; the others are in a neighbouring group.",
        ),
        (
            [(0.6, 0, 0.4), (0.4, 0, 0.6)],
            "One of two says 0–2; the other is two groups away.",
        ),
        ([(0.6, 0.4, 0), (0, 0.4, 0.6)], "None of two says 4–6; the others are in a neighbouring"),
    ],
)
def test_agreement_in_words(contender: Contender, answers: list[tuple[float, ...]], words: str):
    text = results(compared(contender, *(say(*chances) for chances in answers)))
    assert words in text


@pytest.mark.parametrize(("better", "group"), [(True, "4–6"), (False, "0–2")])
def test_a_fitted_ensemble_stands_first_where_it_is_better(
    contender: Contender, better: bool, group: str
):
    model, joint = say(0.8, 0.1, 0.1), replace(say(0.4, 0.5, 0.1), model="ensemble")
    comparison = compared(contender, model, model)
    rows = [joint, model, model] if better else [model, model, joint]
    text = results(replace(comparison, ensemble=together(rows), first=lead(rows), fitted=True))
    first = re.search(r'class="joint".*?</section>', text, re.DOTALL)[0]
    assert re.search(r'class="group">(.*?)<', first)[1] == group
    assert ("Two models together" in first.split('class="group"')[0]) == better
    assert ("the most accurate of them" in first) != better
    assert "None of two says 4–6; the others are in a neighbouring group." in first
    assert ("The ensemble says 4–6." in first) != better


def test_a_card_has_all_figures_and_no_markup_of_others(contender: Contender):
    text = results(compared(contender, say(0.001, 0.25, 0.749, age=9.6), error="No <good>"))
    for words in ("8–13", "75% sure", "about 10 years", "12 ms", "&lt;1%", "25%",
                  "Right for 75% of the pictures", "of 1,516 test pictures",
                  "A &lt;title&gt;", "No &lt;good&gt;",
                  "sees faces of 32 pixels", f"sha256 {contender.digest}"):  # fmt: skip
        assert words in text, words
    assert "<title>" not in text
    assert "<good>" not in text


def test_an_answer_between_groups_says_so(contender: Contender):
    assert "between " not in results(compared(contender, say(0.1, 0.7, 0.2, age=5)))
    torn = replace(say(0.4, 0.1, 0.5, age=4.6), between=("4-6", "8-13"), torn=True)
    text = results(compared(contender, torn))
    assert text.count("torn between 4–6 and 8–13") == 2  # the model, and all together
    assert "answers with the likeliest group" in text


def test_parameters_are_counted_without_loading(contender: Contender):
    from agecli.registry import MODELS
    from tests.exporting.models import SIZES

    own = sum(p.numel() for p in MODELS["cnn"].build(**SIZES["cnn"]).parameters())
    assert contender.parameters == own


def test_the_models_tab_shows_a_broken_file_beside_the_others(contender: Contender, tmp_path: Path):
    (tmp_path / "bad.safetensors").write_bytes(b"none")
    bad = Contender(tmp_path / "bad.safetensors", "cpu")
    assert bad.error
    assert str(tmp_path) not in bad.error
    text = render("models", contenders=[contender, bad])
    assert "72.8 – 77.1" in text
    assert bad.error.split(" (")[0] in text
    assert "always 25–32" in text
    assert str(tmp_path) not in text


def test_heat_is_brightest_where_it_is_most():
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    shown = heat_over(CROP, heat, 64).astype(float)
    assert shown.shape == (64, 64, 3)
    assert shown[4, 4].sum() > shown[60, 60].sum() + 200


def test_the_set_is_marked_on_every_axis(contender: Contender):
    row = replace(
        say(0.5, 0.4, 0.1, age=3), set=("0-2", "4-6"), age_low=1, age_high=6, coverage=0.9
    )
    page = results(compared(contender, row, replace(say(0.6, 0.3, 0.1, age=2))))
    bars = re.findall(r'<tr class="([^"]*)">\s*<th scope="row">([^<]*)', page)
    assert [(group, "in" in classes.split()) for classes, group in bars] == [
        ("0–2", True), ("4–6", True), ("8–13", False),
        ("0–2", False), ("4–6", False), ("8–13", False),
    ]  # fmt: skip
    assert page.count("1–6 years in 90% of such cases") == 1  # a plain mean has no set
    alone = results(compared(contender, row))
    assert alone.count("1–6 years in 90% of such cases") == 2
    axis = re.findall(r'<li class="([^"]*)" style', alone)
    assert ["in" in classes.split() for classes in axis] == [True, True, False]


def test_csv_is_safe_for_spreadsheets():
    rows = [say(0.8, 0.1, 0.1), Prediction("=1+1", status="unreadable", error="not a picture")]
    lines = to_csv(rows).splitlines()
    assert lines[0].endswith("status,error,p 0-2,p 4-6,p 8-13")
    assert lines[1] == "<b>.jpg,1,2,31,32,0.0,0.9,,,,,,cnn,0-2,0.8,,,False,,,,,,,,ok,,0.8,0.1,0.1"
    assert lines[2].startswith("'=1+1" + 25 * "," + "unreadable,not a picture")


def test_a_row_per_face_has_the_gallerys_number_and_the_first_answer():
    other = Face((40, 2, 60, 32), 0.9)
    many = [
        replace(say(0.8, 0.1, 0.1), model="a"), replace(say(0.1, 0.8, 0.1), model="b"),
        replace(say(0.1, 0.1, 0.8), model="a", face=other),
        replace(say(0.2, 0.1, 0.7), model="b", face=other),
    ]  # fmt: skip
    bad = [Prediction("=1+1", status="unreadable", error="not a picture")]
    rows = list(csv.DictReader(faces_csv([bad, many]).splitlines()))
    assert [(row["number"], row["face"]) for row in rows] == [("1", ""), ("2", "1"), ("2", "2")]
    assert (rows[0]["source"], rows[0]["error"]) == ("'=1+1", "not a picture")
    assert (rows[2]["group"], rows[2]["a"], rows[2]["b"]) == ("8-13", "8-13", "8-13")
    first = lead(many[:2])
    assert first and rows[1]["group"] == first.group
    assert float(rows[1]["probability"]) == first.probability
    assert (rows[1]["a"], rows[1]["b"]) == ("0-2", "4-6")


def test_what_may_puzzle_is_explained(contender: Contender):
    gap = replace(say(0.1, 0.7, 0.2, age=7), between=("4-6", "8-13"))
    assert "there is none between 4–6 and 8–13" in results(compared(contender, gap))
    few = [say(0.6, 0.4, 0), say(0, 0.4, 0.6)]
    assert "probabilities count and not votes" in results(compared(contender, *few))
    both = results(compared(contender, say(0.1, 0.7, 0.2), say(0.1, 0.6, 0.3)))
    assert "remark" not in both


@pytest.mark.parametrize(
    ("age", "words"),
    [(1.2, "about 1 year<"), (1.6, "about 2 years<"), (0.3, "about 0 years<")],
)
def test_ages_have_their_number(contender: Contender, age: float, words: str):
    assert words in results(compared(contender, say(0.9, 0.05, 0.05, age=age)))


def test_nothing_short_of_sure_is_called_so(contender: Contender):
    text = results(compared(contender, say(0.999, 0.0005, 0.0005)))
    assert "&gt;99% sure" in text
    assert "100% sure" not in text


def test_the_number_of_pictures_is_bounded():
    with pytest.raises(Refused, match="201 pictures; 200"):
        check([0] * 201)
    with pytest.raises(Refused, match="at least one"):
        check([])
