"""agecli predict as a user runs it: answers, files, exit codes, wrong usage."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agecli.weights import save_weights
from tests.conftest import Cli
from tests.inference.test_predictor import PORTRAIT, write_toy
from tests.inference.videos import portraits, scene, write_video

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


def test_many_pictures_get_a_line_and_a_reason(cli: Cli, toy: Path, pictures: Path):
    result = cli("predict", pictures, "--weights", toy)
    assert result.returncode == 3
    lines = result.stdout.splitlines()
    assert [Path(line.split()[0]).name for line in lines] == [
        "a.jpg", "blank.png", "b.gif", "text.jpg",
    ]  # fmt: skip
    assert lines[1].endswith("no face found")
    assert lines[3].endswith("not an image")
    assert result.stderr == "pictures: 4, without an answer: 2; faces: 2\n"


def test_json_csv_and_annotated_pictures_agree(cli: Cli, toy: Path, pictures: Path, tmp_path: Path):
    table, marked = tmp_path / "ages.csv", tmp_path / "marked"
    result = cli(
        "predict", pictures, "--weights", toy, "--json", "--top", 2, "--csv", table,
        "--annotate", marked, "--workers", 2,
    )  # fmt: skip
    assert result.returncode == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(rows[0]) == [
        "source", "face", "track", "model", "group", "probability", "probabilities", "age",
        "status", "error",
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok", "no_face", "ok", "unreadable"]
    assert {row["track"] for row in rows} == {None}
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
            assert sum(float(line[f"p {g}"]) for g in ("0-2", "60+")) <= 1
    found = sorted(str(p.relative_to(marked)) for p in marked.rglob("*") if p.is_file())
    assert found == ["a.jpg", "sub/b.gif.png"]
    assert Image.open(marked / "a.jpg").size == (512, 512)
    assert not list(tmp_path.glob(".*.partial"))


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


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a face that moves, the same cut in half, one of nothing, one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    head = portraits()[0]
    whole = write_video(folder / "a.mp4", [scene((head, 40 + 10 * n)) for n in range(20)])
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write_video(folder / "empty.mkv", [scene()] * 10)
    (folder / "none.mov").write_text("not a video")
    return folder


def test_a_video_gets_a_line_per_person(cli: Cli, toy: Path, clips: Path):
    result = cli("predict", clips / "a.mp4", "--weights", toy)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    assert line.startswith(str(clips / "a.mp4"))
    assert "face 1  0:00.0-0:01.5, 4 frames" in line


def test_videos_as_json_csv_and_annotated(cli: Cli, toy: Path, clips: Path, tmp_path: Path):
    table, marked = tmp_path / "ages.csv", tmp_path / "marked"
    result = cli(
        "predict", clips / "*", "--weights", toy, "--json", "--csv", table, "--annotate", marked,
        "--fps", 4, "--seconds", 1.9,
    )  # fmt: skip
    assert result.returncode == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(Path(row["source"]).name, row["status"]) for row in rows] == [
        ("a.mp4", "ok"), ("cut.mp4", "ok"), ("cut.mp4", "unreadable"),
        ("empty.mkv", "no_face"), ("none.mov", "unreadable"),
    ]  # fmt: skip
    assert rows[0]["track"] | {"best": 0} == {
        "number": 1, "frames": 8, "first": 0, "last": 1.8, "best": 0,
    }  # fmt: skip
    warning, summary = result.stderr.splitlines()
    assert "cut.mp4: ends after" in warning
    assert "what was read is answered" in warning
    assert summary == "files: 4, without an answer: 2; faces: 2"
    with table.open(newline="") as file:
        first, *_ = csv.DictReader(file)
    assert (first["track"], first["frames"], first["last"]) == ("1", "8", "1.8")
    assert sorted(path.name for path in marked.iterdir()) == ["a.mp4.1.jpg", "cut.mp4.1.jpg"]
    at = round(rows[0]["track"]["best"] * 10)
    plain = np.asarray(scene((portraits()[0], 40 + 10 * at)), dtype=float)
    drawn = np.asarray(Image.open(marked / "a.mp4.1.jpg"), dtype=float)
    assert np.median(abs(drawn - plain).max(2)) < 12  # the frame in which the box belongs


def test_a_video_on_a_terminal_shows_who_is_in_view(cli: Cli, toy: Path, clips: Path):
    result = cli("predict", clips / "a.mp4", "--weights", toy, FORCE_COLOR="1", TERM="xterm")
    assert result.returncode == 0, result.stderr
    assert "a.mp4 at 0:01.5" in result.stderr
    assert "since 0:00.0" in result.stderr
    assert "1/1" in result.stderr


def run_program(program: str, *arguments: object, **options: Any):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, **options,
    )  # fmt: skip


STAGED_CAMERA = """
import sys, agecli.inference.frames as frames
from agecli.cli import main
from agecli.commands._progress import FaceProgress

graph = f"movie={sys.argv.pop(1)}:loop=0,setpts=N/(10*TB),realtime"
frames._camera = lambda number: {"file": graph, "format": "lavfi"}

def watch(self, source, frame, rows):
    if rows and not hasattr(self, "told"):
        self.told = print("watching", file=sys.stderr, flush=True)

FaceProgress.watch = watch
main()
"""


def test_a_camera_is_watched_until_interrupted(toy: Path, clips: Path):
    """FFmpeg plays a clip as a device, without end and in real time."""
    show = ["predict", "--webcam", "--weights", toy, "--json", "--fps", 4]
    process = run_program(STAGED_CAMERA, clips / "a.mp4", *show)
    assert process.stderr.readline() == "watching\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err == ""
    row = json.loads(out.splitlines()[-1])
    assert (row["source"], row["status"]) == ("webcam 0", "ok")


def test_a_picture_on_standard_input(toy: Path, tmp_path: Path):
    command = [sys.executable, "-m", "agecli", "predict", "-", "--weights", str(toy), "--json"]
    marked = ["--annotate", str(tmp_path / "marked")]
    for data, code in ((PORTRAIT.read_bytes(), 0), (b"no picture", 3), (b"", 3)):
        result = subprocess.run([*command, *marked], input=data, capture_output=True, check=False)
        assert result.returncode == code, result.stderr
        row = json.loads(result.stdout)
        assert row["source"] == "-"
        assert row["status"] == ("unreadable" if code else "ok")
    assert [path.name for path in (tmp_path / "marked").iterdir()] == ["-.png"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_standard_input_that_is_a_terminal(toy: Path):
    mine, theirs = os.openpty()
    try:
        program = "from agecli.cli import main; main()"
        process = run_program(program, "predict", "-", "--weights", toy, stdin=theirs)
        out, err = process.communicate(timeout=300)
    finally:
        os.close(mine)
        os.close(theirs)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("agecli: -: standard input is the terminal; pipe a picture in")
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["clip.mp4", "--webcam"])
def test_without_pyav(toy: Path, tmp_path: Path, source: str):
    (tmp_path / "clip.mp4").write_bytes(b"...")
    program = "import sys; sys.modules['av'] = None; from agecli.cli import main; main()"
    process = run_program(program, "predict", source, "--weights", toy, cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert err == 'agecli: Videos and cameras need PyAV: pip install "agecli[video]"\n'


def test_an_unreadable_picture_alone_is_said_so(cli: Cli, toy: Path, pictures: Path):
    result = cli("predict", pictures / "text.jpg", "--weights", toy)
    assert result.returncode == 3
    assert result.stdout == f"{pictures / 'text.jpg'}: not an image\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["face.jpg", "--fallback", "left"], "'left' is not one of"),
        (["face.jpg", "--device", "abacus"], "'abacus' is not one of"),
        (["face.jpg", "--model", "oracle"], "--model: 'oracle' is not one of"),
        (["face.jpg", "--top", "0"], "--top"),
        (["face.jpg", "--annotate", "."], "--annotate: . holds pictures to predict"),
        (["face.jpg", "--weights", "weights", "--bogus"], "No such option: --bogus"),
        ([], "Missing argument"),
        (["https://example.org/face.jpg"], "https://example.org/face.jpg is a URL: download it"),
        (["face.jpg", "rtsp://example.org/live"], "is a URL: download it first"),
        (["--webcam", "face.jpg"], "--webcam takes no PICTURE"),
        (["--webcam", "--annotate", "marked"], "--annotate: pictures of --webcam are not kept"),
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
        (write_cut, "is not a whole safetensors file"),
        (write_newer, "newer than this agecli reads"),
        (write_misfit, "does not fit its model cnn"),
        (lambda path: path.write_text("weights"), "is not a whole safetensors file"),
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
    one_line(cli("predict", PORTRAIT, "--weights", toy, "--csv", tmp_path / "no/ages.csv"), 1)


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
