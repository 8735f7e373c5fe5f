"""A short run of the harness, of the same cases each time; a long one is started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = {"pictures": 150, "archives": 8, "weights": 20, "states": 8, "kills": 2, "faults": 2}


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), COUNTS.items())
def test_nothing_breaks(kind: str, count: int):
    command = [sys.executable, "-m", "tests.fuzz", kind, "--count", str(count)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
