"""One process without a launcher, and a launcher that starts two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agecli import distributed
from tests.launching import environment


def test_one_process_talks_to_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "3")  # left over from something else
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert (distributed.local_rank(), distributed.local_world()) == (0, 1)
    assert distributed.is_main()
    assert distributed.broadcast("a") == "a"
    assert distributed.gather("a") == ["a"]
    assert distributed.mean(3.0) == 3.0
    assert distributed.gather_tensor(torch.ones(2)).shape == (1, 2)
    distributed.join()
    distributed.leave()
    assert not torch.distributed.is_initialized()


def test_one_process_makes_a_thing_once():
    made: list[int] = []
    assert distributed.from_main(lambda: made.append(1) or "a") == "a"
    assert distributed.main_first(lambda: made.append(2) or "b") == "b"
    assert made == [1, 2]


ODD = """
import os, sys
if os.environ["RANK"] == "1": sys.argv[sys.argv.index("--data") + 1] = "nowhere"
from agecli.cli import main
main()
"""


def test_a_failure_of_one_process_is_one_line_and_ends_them_all(
    dataset_folder: Path, tmp_path: Path
):
    script = tmp_path / "odd.py"
    script.write_text(ODD)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--"]
    command = [*launcher, script, "train", "cnn", "--data", dataset_folder, "--run", tmp_path / "r"]
    result = subprocess.run(
        [str(part) for part in command], env=environment(),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("agecli")]
    assert lines[0].startswith("agecli: rank 1: No manifest.csv in nowhere")
    assert lines[1:] in ([], ["agecli FAILED"])  # the launcher's


def test_an_environment_without_a_whole_launch_is_none(monkeypatch: pytest.MonkeyPatch):
    for name in (*distributed.LAUNCH, *distributed.LOCAL):
        monkeypatch.delenv(name, raising=False)
    for size in ("", "2", "two"):
        monkeypatch.setenv("WORLD_SIZE", size)
        assert (distributed.world(), distributed.rank()) == (1, 0)
    monkeypatch.setenv("WORLD_SIZE", "")
    distributed.check_launch()
    assert "WORLD_SIZE" not in os.environ
