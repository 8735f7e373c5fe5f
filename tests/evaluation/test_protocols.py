"""Which published figures a result may be put beside."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agecli.ages import Scheme
from agecli.evaluation import protocols
from tests.evaluation.report.test_page import make_result

UTKFACE, MIVOLO, CORAL, ADIENCE = range(4)


def judge(result=None, sources=("UTKFace",)):
    return protocols.judge({"one": result or make_result("one", 1)}, list(sources))


def test_another_random_draw_of_the_same_pictures_is_comparable():
    one = judge()[UTKFACE]
    assert one["comparable"] and one["reasons"] == []
    assert one["published"]["FaRL + MLP"] == {"mae": 3.87}


def test_given_test_images_are_not_comparable_but_the_nearest_figure_is_there():
    result = make_result("one", 1)
    coral = judge(result)[CORAL]
    inside = (result.ages >= 21) & (result.ages <= 60)
    error = np.abs(result.answered - result.ages)[inside].mean()
    assert coral["here"]["one"] == {"n": inside.sum(), "mae": pytest.approx(error)}
    assert not coral["comparable"]
    assert any("utk_test.csv" in reason for reason in coral["reasons"])
    assert any("ages 21-60 alone" in reason for reason in coral["reasons"])


def test_ages_within_the_protocols_give_no_reason():
    result = make_result("one", 1)
    adult = replace(result, ages=np.clip(result.ages, 21, 60))
    assert not any("alone" in reason for reason in judge(adult)[CORAL]["reasons"])


def test_other_pictures_are_named_and_not_scored():
    for one in judge(sources=["faces"])[:3]:
        assert one["here"] == {} and "these images are faces" in one["reasons"][0]
    adience = judge()[ADIENCE]
    assert adience["here"] == {} and "these images are UTKFace" in adience["reasons"][0]


def test_adience_is_about_its_groups():
    result = make_result("one", 1)
    scores = judge(result, ["Adience"])[ADIENCE]["here"]["one"]
    assert scores == {k: result.scores[k] for k in ("n", "exact", "one_off")}
    decades = replace(result, scheme=Scheme.parse("decades"))
    assert judge(decades, ["Adience"])[ADIENCE]["here"] == {}


def test_what_was_seen_or_has_no_years_is_not_comparable():
    result = make_result("one", 1)
    for other, reason in (
        (replace(result, split="val"), "the val split has been seen"),
        (replace(result, same_split=False), "one may have seen these images"),
        (replace(result, answered=None), "no model answers in years"),
    ):
        one = judge(other)[UTKFACE]
        assert one["reasons"] == [reason] and not one["comparable"]


def test_the_table_says_the_same_and_all_of_it_is_json():
    judged = judge()
    assert json.loads(json.dumps(judged, allow_nan=False))
    head, *rows = protocols.table(judged)
    assert head == protocols.HEAD and len(rows) == len(protocols.PROTOCOLS)
    assert rows[UTKFACE][3].startswith("yes: five random splits")
    assert rows[MIVOLO][1] == "VOLO-D1, face: 4.23 y, 69.7%"
    assert rows[CORAL][0].startswith("UTKFace, ages 21-60 (MAE)\nCORAL")
    assert rows[CORAL][3].startswith("no: its test images are utk_test.csv")
    assert rows[ADIENCE][2] == "–"
