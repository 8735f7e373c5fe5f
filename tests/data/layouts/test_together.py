"""Sets of all layouts, prepared together into one data set."""

import csv
import json

import pytest

from agecli.config import PrepareConfig
from agecli.data.manifest import Manifest
from agecli.data.prepare import prepare
from agecli.data.receipt import Receipt
from agecli.data.store import MANIFEST, RECEIPT
from tests.data.layouts.made_up import adience, appa_real, fairface
from tests.data.pictures import write_set, write_textured


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Return the data set of five sources."""
    place = tmp_path_factory.mktemp("sets")
    write_textured(place / "UTKFace", list(range(1, 80, 4)))
    sources = [
        place / "UTKFace",
        adience(place / "adience", per_fold=8),
        fairface(place / "fairface"),
        appa_real(place / "appa-real-release"),
        write_set(place / "groups", [f"{age}/{i}.jpg" for age in ("0-2", "66+") for i in range(6)]),
    ]
    prepare(sources, place / "out", PrepareConfig(size=32), workers=1)
    return place / "out"


def test_the_receipt_says_how_each_was_read(out):
    receipt = Receipt.read(out / RECEIPT)
    assert [(o.name, o.layout, o.pictures) for o in receipt.origins] == [
        ("UTKFace", "utkface", 20), ("adience", "adience", 39), ("fairface", "fairface", 6),
        ("appa-real-release", "appa-real", 6), ("groups", "folders", 12),
    ]  # fmt: skip
    assert receipt.unlabelled == 7  # a face of unknown age, and six photographs beside their faces
    assert sorted(receipt.sources) == receipt.sources
    assert {"service_test", "apparent_age_avg", "tilt_ang"} <= set(receipt.unused_columns)
    assert receipt.skipped == ["gt_test.csv", "gt_train.csv", "gt_valid.csv"]  # none that was read
    assert json.loads((out / RECEIPT).read_text())["origins"][1]["left_out"] == {
        "no age in fold_4_data.txt": {
            "count": 1, "files": ["aligned/9@N00/landmark_aligned_face.39.139_ab_o.jpg"],
        }
    }  # fmt: skip


def test_the_manifest_has_what_each_says(out):
    with (out / MANIFEST).open(newline="", encoding="utf-8") as file:
        rows = {(row["source"], row["id"]): row for row in csv.DictReader(file)}
    row = rows["adience", "aligned/2@N00/landmark_aligned_face.8.18_ab_o.jpg"]
    assert (row["age"], row["sex"], row["person"], row["fold"]) == ("0-2", "female", "2@N00", "1")
    row = rows["fairface", "fairface-img-margin025-trainval/val/2.jpg"]
    assert (row["age"], row["race"], row["split"]) == ("60-69", "Black", "val")
    row = rows["groups", "66+/0.jpg"]
    assert (row["age"], row["fold"]) == ("66+", "-1")
    assert rows["appa-real-release", "test/000005.jpg_face.jpg"]["split"] == "test"


def test_what_is_written_can_be_read(out):
    manifest = Manifest.read(out / MANIFEST)
    assert manifest.ages.shape == (83, 2)
    assert set(manifest.folds.tolist()) == {-1, 0, 1, 2, 3, 4}
