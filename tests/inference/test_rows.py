"""Rows of a table, read back by the csv module."""

import csv
import io

from agecli.faces import Face
from agecli.faces.tracks import Track
from agecli.inference.prediction import Prediction
from agecli.inference.rows import COLUMNS, csv_header, csv_row


def test_every_value_stands_under_its_name():
    face = Face((1, 2, 31, 32), 0.9, 4.5)
    seen = Prediction(
        "a.mp4", face, "cnn", "0-2", 0.8, {"0-2": 0.8, "4-6": 0.2}, 2.6, ("0-2", "4-6"),
        False, ("0-2", "4-6"), 1, 5, 0.9, False, ("small", "dark"), False,
        track=Track(3, 8, 0.5, 4.0, 1.5),
    )  # fmt: skip
    none = Prediction("b.jpg", status="unreadable", error="cut short")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(csv_header(["0-2", "4-6", "60+"]))
    writer.writerows(csv_row(row, ["0-2", "4-6", "60+"]) for row in (seen, none))
    first, second = csv.DictReader(text.getvalue().splitlines())
    assert {name: first[name] for name in ("left", "bottom", "angle", "score")} == {
        "left": "1", "bottom": "32", "angle": "4.5", "score": "0.9",
    }  # fmt: skip
    assert [first[n] for n in ("track", "frames", "first", "last", "best")] == [
        "3", "8", "0.5", "4.0", "1.5",
    ]  # fmt: skip
    assert [first[n] for n in ("p 0-2", "p 4-6", "p 60+", "status")] == ["0.8", "0.2", "", "ok"]
    assert (first["between"], first["torn"]) == ("0-2/4-6", "False")
    ends = [first[name] for name in ("set", "age_low", "age_high", "coverage", "sure", "flaws")]
    assert ends == ["0-2/4-6", "1", "5", "0.9", "False", "small/dark"]
    assert first["seen"] == "False" and second["seen"] == ""
    assert {name for name in COLUMNS if second[name]} == {"source", "status", "error"}
