"""The model card, read back."""

from dataclasses import asdict, replace
from pathlib import Path

import yaml

from agecli.decision import Decision
from agecli.evaluation.significance import Slice
from agecli.exporting.card import model_card
from agecli.exporting.parity import Parity
from agecli.sets import Sets
from agecli.weights import read_metadata
from tests.exporting.models import write_model

PARITY = Parity("512 validation images of data", 1e-6, 1.0)


def card_of(path: Path, file: str = "model.safetensors", **changes: object) -> tuple[dict, str]:
    metadata = read_metadata(write_model(path / "w.safetensors", "cnn", **changes))
    _, front, text = model_card(metadata, file, "fp32", PARITY).split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_card_holds_what_the_metadata_say(tmp_path: Path):
    front, text = card_of(tmp_path)
    assert (front["license"], front["pipeline_tag"]) == ("other", "image-classification")
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"]["name"] == "UTKFace"
    assert [metric["value"] for metric in result["metrics"]] == [0.75, 0.958, 0.666, 5.108]
    for part in (
        "| exact group | 1,516 | 75.0% | 72.8 – 77.1 |", "25-32 (majority baseline)", "40.6%",
        "5.11 years",
        "| 0-2 | 144 | 95.0% | 92.0% | 93.5% |", "0123456789abcdef", "16,709 images of UTKFace",
        "--weights model.safetensors", "MIT", "non-commercial research", str(PARITY),
    ):  # fmt: skip
        assert part in text, part


def test_a_card_says_how_the_group_is_chosen(tmp_path: Path):
    assert "predicts the likeliest group" in card_of(tmp_path)[1]
    rule = Decision("adjusted", 0.3, (0.3, *[0.1] * 7))
    text = card_of(tmp_path, decision=rule)[1]
    assert "logit adjustment of strength 0.3" in text
    assert "its group's share of them (0.3, 0.1, " in text


def test_a_card_says_how_far_answers_may_be_off(tmp_path: Path):
    assert "age sets" not in card_of(tmp_path)[1]
    row = (0.7, 0.8, 0.9)
    sets = Sets((0.125,) * 8, (row,) * 3, (row,) * 3, (row,) * 8, largest_entropy=1.234)
    text = card_of(tmp_path, sets=sets)[1]
    assert "the groups and years that contain the true one in 80, 90 or 95" in text
    assert "as have age groups that need higher ones. A prediction whose probabilities" in text
    assert "an entropy above 1.23 nats is no better" in text
    plain = card_of(tmp_path, sets=replace(sets, own=(), largest_entropy=None))[1]
    assert "their own thresholds.\n" in plain and "no better" not in plain


def test_a_card_tells_who_the_model_is_more_and_less_right_about(tmp_path: Path):
    metrics = read_metadata(write_model(tmp_path / "m.safetensors", "cnn")).metrics
    few = asdict(Slice("race", "other", 9))
    male = asdict(Slice("sex", "male", 770, 0.735, [0.7, 0.77], 0.96, -0.1))
    _, text = card_of(tmp_path, metrics=metrics | {"slices": [male, few]})
    assert (
        "| sex: male | 770 | 73.5% | 70.0 – 77.0 | 96.0% | -0.10 |" in text
        and "race: other" not in text
    )
    assert "slice" not in card_of(tmp_path)[1]


def test_a_card_without_figures_or_backbone_says_so(tmp_path: Path):
    backbone = {"id": "facebook/dinov2-small", "revision": "abc"}
    front, text = card_of(tmp_path, "model.onnx", metrics={}, backbone=backbone, training={})
    assert "model-index" not in front
    assert "agecli evaluate" in text and "agecli[onnx]" in text
    assert "`facebook/dinov2-small` (revision `abc`) is not included" in text


def test_a_card_tells_of_older_files_that_do_not_count_the_ages(tmp_path: Path):
    metrics = read_metadata(write_model(tmp_path / "m.safetensors", "cnn")).metrics
    _, text = card_of(tmp_path, metrics={k: v for k, v in metrics.items() if k != "n_ages"})
    assert "| mean error of age (MAE) | – | 5.11 years |" in text


def test_robustness_is_laid_out_where_it_was_measured(tmp_path):
    metadata = read_metadata(write_model(tmp_path / "cnn.safetensors"))
    assert "## Robustness" not in model_card(metadata, "cnn.safetensors", "fp16", PARITY)
    exact = {
        "as they are": {"clean": 0.75, "blur 2 %": 0.5},
        "aligned": {"clean": 0.74, "blur 2 %": 0.6},
    }
    measured = {"robustness": {"n": 1516, "exact": exact}}
    alone = model_card(replace(metadata, metrics=measured), "cnn.safetensors", "fp16", PARITY)
    assert "None are recorded" in alone and "## Robustness" in alone
    metadata = replace(metadata, metrics=metadata.metrics | measured)
    card = model_card(metadata, "cnn.safetensors", "fp16", PARITY)
    assert "Exact group on 1,516 test images, perturbed:" in card
    assert "|  | as they are | aligned |" in card and "| blur 2 % | 50.0% | 60.0% |" in card
    measured["robustness"]["coverage"] = {"as they are": {"clean": 0.91, "blur 2 %": 0.86}}
    card = model_card(replace(metadata, metrics=measured), "cnn.safetensors", "fp16", PARITY)
    assert "Exact group, and coverage of the age sets, on 1,516 test images" in card
    assert "| blur 2 % | 50.0% | 60.0% | 86.0% |" in card
