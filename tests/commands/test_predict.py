"""agecli predict as a user runs it: answers, files, exit codes, wrong usage."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.data.seen import fingerprints
from agecli.decision import MEDIAN
from agecli.sets import Sets
from agecli.weights import save_weights
from tests.archives import draw_face
from tests.conftest import Cli
from tests.exporting.models import add_fingerprints
from tests.inference.test_fitted import write_fitted
from tests.inference.test_predictor import PORTRAIT, write_toy

ROOT = Path(__file__).parents[2]
HEAVY = ("torchvision", "fastai", "transformers", "matplotlib", "pandas", "accelerate", "scipy")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "cnn.safetensors", outputs=101)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(PORTRAIT, folder / "a.jpg")
    Image.open(PORTRAIT).save(folder / "sub/b.gif")
    Image.new("RGB", (60, 50), "navy").save(folder / "blank.png")
    (folder / "text.jpg").write_text("not a picture")
    return folder


def test_one_picture_gets_a_bar_per_group(cli: Cli, toy: Path):
    result = cli("predict", PORTRAIT, "--weights", toy)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    head, *bars = result.stdout.strip().splitlines()
    assert head.startswith(f"{PORTRAIT}, face at ")
    assert [line.split()[0] for line in bars] == [
        "0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+",
    ]  # fmt: skip
    assert sum(float(line.split()[-1].rstrip("%")) for line in bars) == pytest.approx(100, abs=0.5)


def test_several_models_end_with_their_ensemble(cli: Cli, toy: Path, tmp_path: Path):
    shutil.copy(toy, tmp_path / "years.safetensors")
    write_toy(tmp_path / "groups.safetensors", outputs=8)
    given = "predict", PORTRAIT, "--weights", tmp_path
    rows = [json.loads(line) for line in cli(*given, "--json").stdout.splitlines()]
    first, second = (row["probabilities"] for row in rows)
    mean = {group: (first[group] + second[group]) / 2 for group in first}
    best = list(mean)[int((np.cumsum(list(mean.values())) < 0.5).sum())]  # their median
    agree = sum(row["group"] == best for row in rows)
    age = next(row["age"] for row in rows if row["age"])
    line = cli(*given).stdout.splitlines()[-1]
    assert f", together: {best}, about {age:.0f} years, " in line
    assert line.endswith(f", {mean[best]:.0%}, {agree} of 2 agree")


def test_the_predicted_group_comes_first_and_what_speaks_against_it_is_reported(
    cli: Cli, tmp_path: Path
):
    """An untrained model finds all groups nearly alike: the median is not the likeliest."""
    given = "predict", PORTRAIT, "--weights", write_toy(tmp_path / "m.safetensors", decision=MEDIAN)
    (row,) = (json.loads(line) for line in cli(*given, "--json", "--top", 2).stdout.splitlines())
    (group, chance), (likeliest, most) = row["probabilities"].items()
    assert (row["group"], row["probability"], row["torn"]) == (group, chance, True)
    assert chance < most
    assert row["between"] == [group, likeliest]
    said = f"torn between {group} and {likeliest}"
    assert cli(*given).stdout.splitlines()[0].endswith(f": {group}, {said}")
    lines = cli(*given, Path(shutil.copy(PORTRAIT, tmp_path / "b.jpg"))).stdout.splitlines()
    assert [f"  {group} " in line and said in line for line in lines] == [True, True]


ROWS = ((0.9, 0.9, 0.9), (0.88, 0.9, 0.9), (0.7, 0.88, 1.0))
SETS = Sets((0.125,) * 8, ROWS, ROWS)


def test_the_set_is_reported_for_the_coverage_that_is_wanted(cli: Cli, tmp_path: Path):
    """An untrained model finds all groups nearly alike: at 95 % all are in its set."""
    given = (
        "predict",
        PORTRAIT,
        "--weights",
        write_toy(tmp_path / "m.safetensors", outputs=101, sets=SETS),
    )
    (row,) = (json.loads(line) for line in cli(*given, "--json").stdout.splitlines())
    assert row["coverage"] == 0.9 and row["sure"]
    assert row["group"] in row["set"]
    result = cli(*given, "--coverage", 0.95, "--json", "--csv", tmp_path / "ages.csv")
    row = json.loads(result.stdout)
    assert (row["set"], row["age_low"], row["age_high"]) == ([*row["probabilities"]], 0, 100)
    (record,) = csv.DictReader((tmp_path / "ages.csv").open(newline=""))
    assert record["set"].split("/") == row["set"]
    assert [record[name] for name in ("age_low", "age_high", "coverage")] == ["0", "100", "0.95"]
    said = "0-2 to 60+, 0-100 years (95%)"
    assert cli(*given, "--coverage", 0.95).stdout.splitlines()[0].endswith(f"; {said}")
    copy = shutil.copy(PORTRAIT, tmp_path / "b.jpg")
    lines = cli(*given, copy, "--coverage", "0.95").stdout.splitlines()
    assert [said in line for line in lines] == [True, True]


def test_an_answer_that_is_worth_nothing_is_none_where_that_is_wanted(
    cli: Cli, toy: Path, tmp_path: Path
):
    unsure = write_toy(
        tmp_path / "m.safetensors", outputs=101, sets=replace(SETS, largest_entropy=0.1)
    )
    given = "predict", PORTRAIT, "--weights", unsure
    assert cli(*given).returncode == 0
    result = cli(*given, "--abstain", "--json", "--annotate", tmp_path / "marked")
    row = json.loads(result.stdout)
    assert result.returncode == 3
    assert (row["status"], row["sure"], row["group"], row["age"]) == ("unsure", False, None, None)
    assert "no better than" in row["error"] and row["face"]
    assert list((tmp_path / "marked").iterdir()) == []
    (line,) = cli(*given, "--abstain").stdout.splitlines()
    assert line.startswith(f"{PORTRAIT}, face at ") and "cnn: unsure: " in line
    with Image.open(PORTRAIT) as image:
        image.resize((40, 40)).point(lambda value: value // 20).save(tmp_path / "dark.png")
    given = "predict", tmp_path / "dark.png", "--crops", "--weights", unsure, "--abstain", "--json"
    row = json.loads(cli(*given).stdout)
    assert row["flaws"] == ["small", "dark"]
    assert row["error"].startswith("unsure: the picture is small and dark; ")
    both = tmp_path / "both"
    both.mkdir()
    for path, name in ((unsure, "a"), (toy, "b")):  # the file of the second one says nothing
        shutil.copy(path, both / f"{name}.safetensors")
    result = cli("predict", PORTRAIT, "--weights", both, "--abstain")
    assert result.returncode == 0
    assert ": unsure: " in result.stdout.splitlines()[0]
    assert "together" not in result.stdout


@pytest.mark.parametrize("better", [True, False])
def test_a_fitted_ensemble_is_shown_first_where_it_is_better(
    cli: Cli, toy: Path, tmp_path: Path, better: bool
):
    one = write_toy(tmp_path / "one.safetensors", outputs=8)
    two = Path(shutil.copy(toy, tmp_path / "two.safetensors"))
    write_fitted({two: 0.9, one: 0.3}, better=better)
    given = "predict", PORTRAIT, "--weights", tmp_path
    rows = [json.loads(line) for line in cli(*given, "--json").stdout.splitlines()]
    names = [row["model"] for row in rows]
    models = [str(two), str(one)]  # the best first
    assert names == (["ensemble", *models] if better else [*models, "ensemble"])
    joint = next(row for row in rows if row["model"] == "ensemble")
    shown = cli(*given)
    assert shown.stderr == ""
    heads = [line for line in shown.stdout.splitlines() if "face at" in line]
    assert ["together" in head for head in heads] == [name == "ensemble" for name in names]
    (head,) = (head for head in heads if "together" in head)
    assert f", together: {joint['group']}, about {joint['age']:.0f} years, " in head
    assert f", {joint['probability']:.0%}, 2 of 2 agree" in head
    assert f"{joint['probability']:.1%}" in shown.stdout


def test_an_ensemble_of_other_weights_is_reported_and_not_used(cli: Cli, toy: Path, tmp_path: Path):
    one, two = (Path(shutil.copy(toy, tmp_path / f"{name}.safetensors")) for name in ("one", "two"))
    write_fitted({one: 1, two: 0})
    write_toy(two, outputs=8)
    result = cli("predict", PORTRAIT, "--weights", tmp_path, "--json")
    names = [json.loads(line)["model"] for line in result.stdout.splitlines()]
    assert names == [str(one), str(two)]
    (line,) = result.stderr.splitlines()
    assert line.startswith("agecli: warning: ") and "two.safetensors has changed" in line
    assert cli("predict", PORTRAIT, "--weights", one, "--json").stderr == ""


def test_many_pictures_get_a_line_and_a_reason(cli: Cli, toy: Path, pictures: Path):
    result = cli("predict", pictures, "--weights", toy)
    assert result.returncode == 3
    lines = result.stdout.splitlines()
    assert [Path(line.split()[0]).name for line in lines] == [
        "a.jpg", "blank.png", "b.gif", "text.jpg",
    ]  # fmt: skip
    assert lines[1].endswith("no face found")
    assert lines[3].endswith("not an image")
    assert result.stderr == "pictures: 4, without a prediction: 2; faces: 2\n"


def test_json_csv_and_annotated_pictures_agree(cli: Cli, toy: Path, pictures: Path, tmp_path: Path):
    table, marked = tmp_path / "ages.csv", tmp_path / "marked"
    result = cli(
        "predict", pictures, "--weights", toy, "--json", "--top", 2, "--csv", table,
        "--annotate", marked, "--workers", 2,
    )  # fmt: skip
    assert result.returncode == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(rows[0]) == [
        "source", "face", "model", "group", "probability", "probabilities", "age",
        "between", "torn", "set", "age_low", "age_high", "coverage", "sure", "flaws", "seen",
        "status", "error", "track",
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok", "no_face", "ok", "unreadable"]
    assert {row["track"] for row in rows} == {row["seen"] for row in rows} == {None}
    assert len(rows[0]["probabilities"]) == 2
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    for row, line in zip(rows, written, strict=True):
        assert line["source"] == row["source"]
        assert line["group"] == (row["group"] or "")
        assert line["error"] == (row["error"] or "")
        if row["face"]:
            assert [int(line[side]) for side in ("left", "top", "right", "bottom")] == row["face"][
                "box"
            ]
            assert float(line["angle"]) == row["face"]["angle"] != 0
            assert sum(float(line[f"p {g}"]) for g in ("0-2", "60+")) <= 1
    found = sorted(str(p.relative_to(marked)) for p in marked.rglob("*") if p.is_file())
    assert found == ["a.jpg", "sub/b.gif.png"]
    assert Image.open(marked / "a.jpg").size == (512, 512)
    assert not list(tmp_path.glob(".*.partial"))


def test_a_face_that_the_model_has_seen_is_reported(cli: Cli, toy: Path, tmp_path: Path):
    chips = tmp_path / "chips"
    chips.mkdir()
    for name, age in (("new", 5), ("seen", 28)):
        draw_face(age, seed=age, size=200).save(chips / f"{name}.png")
    model, table = tmp_path / "knows.safetensors", tmp_path / "ages.csv"
    shutil.copy(toy, model)
    add_fingerprints(model, fingerprints(np.asarray(Image.open(chips / "seen.png"))[None]))
    asked = ("predict", chips, "--crops", "--weights", model, "--workers", 0)
    found = [json.loads(line)["seen"] for line in cli(*asked, "--json").stdout.splitlines()]
    assert found == [False, True]
    cli(*asked, "--csv", table)
    with table.open(newline="") as file:
        assert [row["seen"] for row in csv.DictReader(file)] == ["False", "True"]
    first, second = cli(*asked).stdout.splitlines()
    assert "seen in training" in second and "seen in" not in first
    bars = cli("predict", chips / "seen.png", *asked[2:]).stdout
    assert "seen in training" in bars.splitlines()[0]


def test_align_and_the_least_score_decide_what_is_a_face(cli: Cli, toy: Path):
    plain = cli("predict", PORTRAIT, "--weights", toy, "--align", "none", "--json")
    assert json.loads(plain.stdout)["face"]["angle"] == 0
    high = cli("predict", PORTRAIT, "--weights", toy, "--min-face-score", "0.99")
    assert high.returncode == 3
    assert "no face found" in high.stdout


def test_pictures_of_extreme_shape_cost_their_own_row_only(cli: Cli, toy: Path, tmp_path: Path):
    shapes = [(10_000, 1), (1, 10_000), (20_000, 50), (100_000, 100), (4000, 4000)]
    for number, size in enumerate(shapes):
        Image.new("P", size).save(tmp_path / f"{number}.png")
    Image.open(PORTRAIT).save(tmp_path / "portrait.png")
    result = cli("predict", tmp_path, "--weights", toy, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 3, result.stderr
    assert [row["status"] for row in rows] == ["no_face"] * len(shapes) + ["ok"]


def test_crops_and_fallback_answer_for_blank_pictures(cli: Cli, toy: Path, pictures: Path):
    for options in (["--crops"], ["--fallback", "centre"]):
        result = cli("predict", pictures / "blank.png", "--weights", toy, "--json", *options)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["face"] is None


def test_loads_nothing_heavy(toy: Path):
    program = (
        "import sys; from agecli.cli import main\n"
        f"sys.argv = ['agecli', 'predict', {str(PORTRAIT)!r}, '--weights', {str(toy)!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == ""


def test_workers_load_no_torch():
    program = "import sys, agecli.inference.pictures; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert result.stdout == "False\n"


def test_many_pictures_on_a_terminal(cli: Cli, toy: Path, pictures: Path):
    result = cli("predict", pictures, "--weights", toy, FORCE_COLOR="1", TERM="xterm")
    assert result.returncode == 3, result.stderr
    assert "4/4" in result.stderr
    assert "no face found" in result.stderr  # lines go above the bar


def test_a_single_unreadable_picture_is_reported(cli: Cli, toy: Path, pictures: Path):
    result = cli("predict", pictures / "text.jpg", "--weights", toy)
    assert result.returncode == 3
    assert result.stdout == f"{pictures / 'text.jpg'}: not an image\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["face.jpg", "--fallback", "left"], "'left' is not one of"),
        (["face.jpg", "--align", "eyes"], "'eyes' is not one of"),
        (["face.jpg", "--min-face-score", "1.1"], "--min-face-score"),
        (["face.mp4", "--fps", "many"], "--fps: 'many' is neither a number from 0.01 to 1000"),
        (["face.mp4", "--fps", "nan"], "--fps: 'nan' is neither"),
        (["face.jpg", "--device", "abacus"], "'abacus' is not one of"),
        (["face.jpg", "--model", "oracle"], "--model: 'oracle' is not one of"),
        (["face.jpg", "--top", "0"], "--top"),
        (["face.jpg", "--annotate", "."], "--annotate: . contains pictures to predict"),
        (["face.jpg", "--weights", "weights", "--bogus"], "No such option: --bogus"),
        ([], "Missing argument"),
        (["https://example.org/face.jpg"], "https://example.org/face.jpg is a URL: download it"),
        (["face.jpg", "rtsp://example.org/live"], "is a URL: download it first"),
        (["--webcam", "face.jpg"], "--webcam takes no PICTURE"),
        (["--webcam", "--annotate", "marked"], "--annotate: frames of --webcam are not saved"),
        (["face.jpg", "--fps", "0"], "--fps"),
    ],
)
def test_wrong_usage(cli: Cli, one_line, toy: Path, tmp_path: Path, arguments, says):
    shutil.copy(PORTRAIT, tmp_path / "face.jpg")
    extra = [] if {"--weights", "--model"} & set(arguments) else ["--weights", toy]
    line = one_line(cli("predict", *arguments, *extra, cwd=tmp_path), 2)
    assert says in line


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("none.jpg", "No such file or folder: none.jpg"),
        ("empty", "No pictures in empty"),
        ("*.gif", "No files match *.gif"),
        ("--webcam", "--webcam: camera 0 cannot be read"),
    ],
)
def test_what_is_not_there(cli: Cli, one_line, toy: Path, tmp_path: Path, argument, says):
    (tmp_path / "empty").mkdir()
    assert says in one_line(cli("predict", argument, "--weights", toy, cwd=tmp_path))


def write_foreign(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, path)


def write_cut(path: Path) -> None:
    write_toy(path)
    path.write_bytes(path.read_bytes()[:-1000])


def write_newer(path: Path) -> None:
    write_toy(path, format=99)


def write_misfit(path: Path) -> None:
    import torch

    from tests.inference.test_predictor import toy_metadata

    save_weights(path, {"x": torch.zeros(3)}, toy_metadata())


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_foreign, "was not written by agecli"),
        (write_cut, "is not a complete safetensors file"),
        (write_newer, "newer than this agecli reads"),
        (write_misfit, "does not fit its model cnn"),
        (lambda path: path.write_text("weights"), "is not a complete safetensors file"),
        (lambda path: None, "No weights at"),
    ],
)
def test_weights_that_cannot_be_used(cli: Cli, one_line, tmp_path: Path, write, says):
    path = tmp_path / "cnn.safetensors"
    write(path)
    table = tmp_path / "ages.csv"
    line = one_line(cli("predict", PORTRAIT, "--weights", path, "--csv", table), 1)
    assert says in line
    assert str(path) in line
    assert not table.exists()


def test_a_csv_file_that_cannot_be_written(cli: Cli, one_line, toy: Path, tmp_path: Path):
    table = tmp_path / "no" / "ages.csv"
    line = one_line(cli("predict", PORTRAIT, "--weights", toy, "--csv", table), 2)
    assert line == f"agecli: --csv: there is no folder {table.parent}: create it first"


def test_a_pattern_behind_csv_does_not_cost_the_first_picture(
    cli: Cli, one_line, toy: Path, tmp_path: Path
):
    pictures = [tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")]
    for picture in pictures:
        shutil.copy(PORTRAIT, picture)
    line = one_line(cli("predict", "--weights", toy, "--csv", *pictures), 2)
    assert f"--csv: {pictures[0]} exists and was not written by this command" in line
    line = one_line(cli("predict", "--weights", toy, "--csv", *pictures, pictures[0]), 2)
    assert f"--csv: {pictures[0]} is an input" in line
    assert all(picture.read_bytes() == PORTRAIT.read_bytes() for picture in pictures)
    one_line(cli("predict", PORTRAIT, "--weights", toy, "--csv", "/dev/stdout"), 2)


def test_what_it_wrote_itself_is_written_again(cli: Cli, toy: Path, tmp_path: Path):
    options = ["--csv", tmp_path / "ages.csv", "--annotate", tmp_path / "marked"]
    for suffix in (".jpg", ".png", ".webp", ".gif"):
        Image.open(PORTRAIT).save(tmp_path / f"face{suffix}")
    sources = [tmp_path / f"face{suffix}" for suffix in (".jpg", ".png", ".webp", ".gif")]
    for _ in range(2):
        result = cli("predict", *sources, "--weights", toy, *options)
        assert result.returncode == 0, result.stderr
    assert len((tmp_path / "ages.csv").read_text().splitlines()) == 5
    assert len(list((tmp_path / "marked").iterdir())) == 4


def test_annotate_spares_pictures_of_others(cli: Cli, one_line, toy: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    for name in ("face.jpg", "face.gif", "other/face.jpg"):
        Image.open(PORTRAIT).save(tmp_path / name)
    before = (tmp_path / "other" / "face.jpg").read_bytes()
    options = ["--weights", toy, "--annotate", tmp_path / "other"]
    line = one_line(cli("predict", tmp_path / "face.jpg", *options), 2)
    assert (
        f"--annotate: {tmp_path / 'other' / 'face.jpg'} exists and was not written by this" in line
    )
    assert (tmp_path / "other" / "face.jpg").read_bytes() == before
    Image.open(PORTRAIT).save(tmp_path / "face.gif.png")
    both = [tmp_path / "face.gif", tmp_path / "face.gif.png"]
    assert "would both be written" in one_line(cli("predict", *both, *options), 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(toy: Path):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "agecli", "predict", str(PORTRAIT), "--weights", str(toy)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
    assert result.returncode == 1
    assert result.stderr.startswith("agecli: No space left on device")


INTERRUPTED = """
import sys
from agecli import cli
from agecli.inference.predictor import Predictor
whole = Predictor.answer
calls = []
def answer(self, batch):
    calls.append(batch)
    if len(calls) > 2:
        raise {error}
    yield from whole(self, batch)
Predictor.answer = answer
cli.main()
"""


@pytest.mark.parametrize(("error", "code"), [("KeyboardInterrupt", 130), ("OSError(5, 'I/O')", 1)])
def test_a_table_keeps_what_was_predicted(
    cli: Cli, toy: Path, tmp_path: Path, error: str, code: int
):
    table, partial = tmp_path / "ages.csv", tmp_path / "ages.csv.partial"
    copies = [shutil.copy(PORTRAIT, toy.parent / f"{number}.jpg") for number in range(3)]
    given = ["predict", *map(str, copies), "--weights", str(toy)]
    given += ["--csv", str(table), "--batch-size", "1"]
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(error=error), *given],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == code
    assert f"agecli: {partial} has the predictions so far" in result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    with partial.open(newline="") as file:
        (row, *_) = csv.DictReader(file)
    assert row["source"] == str(copies[0]) and row["group"]
    assert not table.exists()
    assert cli(*given).returncode == 0
    assert sorted(tmp_path.iterdir()) == [table]


def test_a_decoder_that_crashes_costs_its_picture(toy: Path, tmp_path: Path):
    """In a folder of so many pictures that workers read them."""
    for number in range(60):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "30.png").write_bytes(b"crash")
    program = CRASHING.format(folder=str(tmp_path), toy=str(toy))
    script = tmp_path / "script.py"
    script.write_text(program)
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 3, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(row["source"]).stem for row in rows] == [f"{number:02}" for number in range(60)]
    assert [row["error"] for row in rows if row["status"] != "ok"] == ["the decoder crashed"]


CRASHING = """
import os, signal
from agecli.data import images
whole = images._open
def crash(data):
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(data)
images._open = crash
if __name__ == "__main__":
    import sys
    from agecli.cli import main
    sys.argv = ["agecli", "predict", {folder!r}, "--crops", "--json", "--weights", {toy!r}]
    sys.argv += ["--workers", "2"]
    main()
"""


def test_folders_are_searched_by_content_and_what_is_left_out_is_reported(
    cli: Cli, toy: Path, tmp_path: Path
):
    portrait = Image.open(PORTRAIT)
    for name in ("a.avif", "b.jp2", "c.jpe", "d.mpo"):
        portrait.save(tmp_path / name)
    portrait.save(tmp_path / "__e", "PNG")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "f.jpg").symlink_to(PORTRAIT)
    for number in range(7):
        (tmp_path / f"x{number}.csv").write_text("nothing")
    result = cli("predict", tmp_path, "--weights", toy, "--json")
    assert result.returncode == 0, result.stderr
    names = [Path(json.loads(line)["source"]).name for line in result.stdout.splitlines()]
    assert names == ["__e", "a.avif", "b.jp2", "c.jpe", "d.mpo", "f.jpg"]
    said = result.stderr.splitlines()[0]
    assert said.startswith("agecli: 8 files are neither image nor video: ")
    assert said.endswith(f"{tmp_path / 'x3.csv'} and 3 more")
