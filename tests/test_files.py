"""A lock that ends with its holder."""

import subprocess
import sys
from pathlib import Path

from agecli.files import FileLock

HOLD = "import sys, time; from pathlib import Path; from agecli.files import FileLock\n"
HOLD += "FileLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"


def test_one_holder_at_a_time(tmp_path: Path):
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with first:
        assert not second.acquire(wait=False)
    assert second.acquire(wait=False)
    second.release()
    second.release()  # once too often is no harm


def test_a_killed_holder_leaves_the_lock(tmp_path: Path):
    path = tmp_path / "lock"
    arguments = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as p:
        assert p.stdout and p.stdout.readline() == b"held\n"
        assert not FileLock(path).acquire(wait=False)
        p.kill()
        p.wait()
        assert FileLock(path).acquire(wait=False)
