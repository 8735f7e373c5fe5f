"""The whole way, by README's commands: archive in, weights out, a picture answered."""

import json
import re
import shutil
from pathlib import Path

import pytest

from agecli.weights import read_metadata, released_folder
from tests.archives import draw_face

ROOT = Path(__file__).parent.parent
PORTRAIT = ROOT / "demo" / "examples" / "astronaut.jpg"
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.realdata
@pytest.mark.slow
def test_the_released_weights_score_what_readme_says(cli, utkface: Path, tmp_path: Path):
    go(cli, tmp_path, "prepare", utkface, "data")
    lines = go(cli, tmp_path, "evaluate", released_folder(), "--data", "data", "--json")
    rows = [json.loads(line) for line in lines.splitlines()]
    table = [line.strip("| ").split(" | ") for line in README.splitlines() if "| " in line]
    for model in ("cnn", "capsnet", "resnet", "dinov2", "ensemble"):
        (scores,) = [row for row in rows if row.get("model") == model]
        (cells,) = [cells for cells in table if f"`{model}`" in cells[0]]
        exact, low, high, one_off, *mae = map(
            float, re.findall(r"[0-9]+\.[0-9]+", " ".join(cells[1:5]))
        )
        images = f"{scores['n']:,}"
        assert images in README and 0 < scores["left_out"] < 20
        wanted = [scores["exact"], *scores["bootstrap"]["exact"], scores["one_off"]]
        near = 2 / scores["n"] + 0.0005  # another processor may round a few images otherwise
        assert [exact / 100, low / 100, high / 100, one_off / 100] == pytest.approx(
            wanted, abs=near
        )
        wanted = [scores["mae"]] if "mae" in scores else []  # the capsnet has no years
        assert mae == pytest.approx(wanted, abs=0.01)
