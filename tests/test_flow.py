"""The whole way, by README's commands: archive in, weights out, a picture answered."""

import json
import shutil
from pathlib import Path

import pytest

from agecli.weights import read_metadata
from tests.archives import draw_face

PORTRAIT = Path(__file__).parent.parent / "demo" / "examples" / "astronaut.jpg"


def go(cli, folder: Path, *arguments: object) -> str:
    result = cli(*arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_from_an_archive_to_an_answer(cli, archive: Path, tmp_path: Path):
    shutil.copy(archive, tmp_path / "Drawn.tar.gz")
    receipt = json.loads(go(cli, tmp_path, "prepare", "Drawn.tar.gz", "--size", 64, "--json"))
    assert receipt["images"] == 200
    data = ["--data", "data/drawn"]
    settings = ["--image-size", 32, "--epochs", 10, "--batch-size", 16, "--lr", 3e-3, "--ema", 0.9]
    go(cli, tmp_path, "train", "cnn", *data, *settings, "--dropout", 0.1)

    scores = json.loads(go(cli, tmp_path, "evaluate", "runs/cnn", *data, "--json"))
    best = tmp_path / "runs" / "cnn" / "best.safetensors"
    assert scores["exact"] == read_metadata(best).metrics["exact"]
    assert scores["exact"] > scores["majority"]
    go(cli, tmp_path, "evaluate", "runs/cnn", *data, "--plots", "plots")
    assert list((tmp_path / "plots").glob("*.png"))

    draw_face(70, 12345).save(tmp_path / "old.jpg")
    draw_face(1, 54321).save(tmp_path / "young.jpg")
    answer = [
        json.loads(go(cli, tmp_path, "predict", name, "--weights", best, "--crops", "--json"))
        for name in ("old.jpg", "young.jpg")
    ]
    assert answer[0]["age"] > answer[1]["age"]


def test_the_released_weights_predict_the_portrait(cli, tmp_path: Path):
    row = json.loads(go(cli, tmp_path, "predict", PORTRAIT, "--json"))
    assert row["status"] == "ok"
    assert row["group"] in ("25-32", "38-43")  # she was 35 or 36
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    left, top, right, bottom = row["face"]["box"]
    assert left < 225 < right and top < 130 < bottom


def test_every_released_model_predicts_the_portrait(cli, tmp_path: Path):
    lines = go(cli, tmp_path, "predict", PORTRAIT, "--model", "all", "--json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["model"] for row in rows} - {"ensemble"} == {"cnn", "capsnet", "resnet", "dinov2"}
    assert all(row["status"] == "ok" and row["group"] in row["probabilities"] for row in rows)


PROMISED = {
    "cnn": (0.74, 0.95), "capsnet": (0.73, 0.95), "resnet": (0.75, 0.96), "dinov2": (0.64, 0.90),
}  # fmt: skip


@pytest.mark.realdata
@pytest.mark.slow
def test_the_released_weights_score_what_their_file_says(cli, utkface: Path, tmp_path: Path):
    go(cli, tmp_path, "prepare", utkface, "data")
    promised = dict(PROMISED)
    for models in (("capsnet", "resnet"), ("cnn", "dinov2")):
        lines = go(cli, tmp_path, "evaluate", *models, "--data", "data", "--json").splitlines()
        for scores in map(json.loads, lines[: len(models)]):
            stored = read_metadata(Path(scores["weights"])).metrics
            exact, one_off = promised.pop(scores["model"])
            assert scores["exact"] >= exact and scores["one_off"] >= one_off
            own = [part for part in stored["slices"] if part["value"] == "UTKFace"]
            if own:  # it was trained on several sets, which are split as each alone is
                assert not scores["left_out"]
                assert scores["exact"] == pytest.approx(own[0]["exact"], abs=2 / scores["n"])
            else:  # on an earlier split, of nearly the same images
                assert 0 < scores["left_out"] < 20
                assert scores["exact"] == pytest.approx(stored["exact"], abs=0.01)
    assert not promised
