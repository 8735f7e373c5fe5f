"""agecli predict on videos, a camera and standard input, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli
from tests.inference.test_predictor import PORTRAIT, write_toy
from tests.video.videos import portraits, scene, write_video


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "cnn.safetensors", outputs=101)


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
    assert "predicted from what was read" in warning
    assert summary == "files: 4, without a prediction: 2; faces: 2"
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
import sys, agecli.video.frames as frames
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
    assert err.startswith("agecli: -: standard input is the terminal; pipe an image in")
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["clip.mp4", "--webcam"])
def test_without_pyav(toy: Path, tmp_path: Path, source: str):
    (tmp_path / "clip.mp4").write_bytes(b"...")
    program = "import sys; sys.modules['av'] = None; from agecli.cli import main; main()"
    process = run_program(program, "predict", source, "--weights", toy, cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert err == 'agecli: Videos and cameras need PyAV: pip install "agecli[video]"\n'
