"""Metadata of weights files: invalid values are rejected, in one line, before they are used."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from agecli.decision import Decision
from agecli.metadata import Newer, read_metadata_text
from agecli.sets import Sets
from tests.exporting.models import SIZES
from tests.test_weights import METADATA

DINOV2 = {
    "model": "dinov2", "objective": "both", "architecture": SIZES["dinov2"], "image_size": 32,
}  # fmt: skip


def text(**changes: Any) -> str:
    return json.dumps(asdict(METADATA) | changes)


def backbone(**changes: Any) -> dict[str, Any]:
    architecture = SIZES["dinov2"]
    own = architecture["backbone"] | changes
    return DINOV2 | {"architecture": architecture | {"backbone": own}}


ROWS = ((0.1, 0.2, 0.3),) * 3
SETS = {"shares": (0.125,) * 8, "groups": ROWS, "largest_entropy": 0.4}


def test_what_was_written_comes_back():
    assert read_metadata_text(text()) == METADATA
    assert read_metadata_text(text(**DINOV2)).architecture == SIZES["dinov2"]


def test_a_rule_comes_back_and_files_without_one_answer_with_the_likeliest():
    rule = Decision("adjusted", 0.5, (0.125,) * 8)
    assert read_metadata_text(text(decision=asdict(rule))).decision == rule
    earlier = {k: v for k, v in asdict(METADATA).items() if k != "decision"}
    assert read_metadata_text(json.dumps(earlier)).decision == Decision("likeliest")


def test_sets_come_back_and_files_without_them_have_none():
    assert read_metadata_text(text(sets=SETS)).sets == Sets(**SETS)
    earlier = {k: v for k, v in asdict(METADATA).items() if k != "sets"}
    assert read_metadata_text(json.dumps(earlier)).sets is None


def nested(depth: int) -> dict[str, Any]:
    return {"init": "x"} | ({"before": nested(depth - 1)} if depth else {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"scheme": None}, "scheme: expected array, got null"),
     ({"scheme": 3}, "scheme: expected array"),
     ({"scheme": []}, "scheme: expected array of length >= 2"),
     ({"scheme": ["4-6", "0-2"]}, "scheme: group '0-2' overlaps"),
     ({"scheme": ["0-2", "x"]}, "scheme: 'x' is not an age group"),
     ({"crop": [1]}, "crop: expected object, got array"),
     ({"crop": {"margin": 1e9}}, "crop.margin: expected float <= 4"),
     ({"temperature": "x"}, "temperature: expected float, got str"),
     ({"temperature": 0}, "temperature: expected float >= 0.001"),
     ({"temperature": float("nan")}, "JSON is malformed"),
     ({"decision": {"rule": "mode"}}, "decision.rule: invalid enum value"),
     ({"decision": {"rule": "adjusted", "tau": 9}}, "decision.tau: expected float <= 2"),
     ({"decision": {"rule": "adjusted", "shares": [0] * 8}}, "shares.*: expected float >= 1e-12"),
     ({"decision": {"rule": "adjusted", "shares": [0.5] * 2}}, "'adjusted' with 2 shares, not 8"),
     ({"sets": SETS | {"shares": [0.5] * 2}}, "sets: 2 shares, not 8"),
     ({"sets": SETS | {"groups": [[0.1, 0.2, 1.1]] * 3}}, "expected float <= 1"),
     ({"sets": SETS | {"groups": [[0.1, 0.2, 0.3]] * 2}}, "expected array of length >= 3"),
     ({"sets": SETS | {"groups": [[0.3, 0.2, 0.3]] * 3}}, "a threshold falls"),
     ({"sets": SETS | {"years": ROWS}}, "sets: it has years, which the model does not predict"),
     ({"sets": SETS | {"largest_entropy": -1}}, "largest_entropy: expected float >= 0"),
     ({"sets": SETS | {"own": ROWS}}, "sets: thresholds of 3 groups, not 8"),
     ({"sets": SETS | {"own": [[0.3, 0.2, 0.3]] * 8}}, "a threshold falls"),
     ({"image_size": 0}, "image_size: expected int >= 16"),
     ({"image_size": "96"}, "image_size: expected int, got str"),
     ({"image_size": float("inf")}, "JSON is malformed"),
     ({"image_size": 20000}, "image_size: expected int <= 1024"),
     ({"image_size": 32}, "architecture: another image_size than 32"),
     ({"mean": [0.5, 0.5]}, "mean: expected array of length >= 3"),
     ({"std": [1, 1, 0]}, "std\\[2\\]: expected float >= 0.0001"),
     ({"title": "\x1b[2J"}, "title: expected str matching"),
     ({"objective": "ages"}, "8 outputs, where its objective and scheme have 101"),
     ({"architecture": {"outputs": 8, "wings": 2}}, "architecture: cnn has no 'wings'"),
     ({"architecture": {"outputs": 10**9}}, "1000000000 outputs"),
     ({"architecture": {"outputs": 8, "backbone": {}}}, "only a dinov2 has a backbone"),
     ({"model": "capsnet", "objective": "margin", "image_size": 32,
       "architecture": {"outputs": 8, "image_size": 32, "routing_iters": 10**9}},
      "architecture: routing-iters: 1000000000 is not between 1 and 20"),
     (backbone(num_hidden_layers=10**7), "num_hidden_layers: expected int <= 128"),
     (backbone(patch_size=10**6), "patch_size: expected int <= 256"),
     (backbone(hidden_size=25), "hidden_size: 25 is not a multiple of the 2 heads"),
     (backbone(image_size=1024, patch_size=1), "patch_size: 1 px do not fit an image of 1024"),
     (backbone(num_channels=4), "num_channels: "),
     (DINOV2 | {"architecture": {"outputs": 101, "pool": 3}}, "architecture: pool: 3 is not"),
     ({"metrics": METADATA.metrics | {"exact": "x"}}, "exact: expected float"),
     ({"metrics": {"exact": 0.5}}, "missing required field"),
     ({"metrics": METADATA.metrics | {"slices": [{"by": "sex"}]}}, "slices\\[0\\]: .*missing"),
     ({"metrics": {"robustness": {"n": 3, "exact": []}}}, "exact: expected object"),
     ({"metrics": {"robustness": {"n": 3, "exact": {}, "coverage": []}}},
      "coverage: expected object"),
     ({"training": {"data": 3}}, "data: expected array"),
     ({"training": {"config": {"model": []}}}, "its config has no model"),
     ({"training": {"config": {"model": "cnn"}}}, "it has a config, but no data"),
     ({"training": nested(200)}, "training: more than 100"),
     ({"backbone": {"id": "x"}}, "backbone: .*missing required field revision")],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        read_metadata_text(text(**changes))
    assert not isinstance(caught.value, Newer)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content", ["", "null", "[]", "{", '{"format": 1}', "[" * 100_000, '{"training":' * 5000],
)  # fmt: skip
def test_what_is_not_metadata_is_refused(content: str):
    with pytest.raises(ValueError, match=r"^.{5,160}$"):
        read_metadata_text(content)


def test_what_a_backbone_has_beside_its_shape_is_left_out():
    """Its configuration may name code to download, or a billion labels."""
    metadata = read_metadata_text(text(**backbone(attn_implementation="x/y", num_labels=10**9)))
    assert metadata.architecture == SIZES["dinov2"]
