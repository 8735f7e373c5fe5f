"""A study that several machines share, on a real PostgreSQL server."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agecli.tuning import storage
from agecli.tuning.study import Study
from tests.tuning.postgres import postgres
from tests.tuning.studies import make_spec

ROOT = Path(__file__).parent.parent.parent

MACHINE = """
import sys, time
from pathlib import Path
from agecli.tuning import storage
from agecli.tuning.study import Study

storage.HEARTBEAT, storage.GRACE = 1, 2
study = Study.open(Path(sys.argv[1]), sys.argv[2])

def step(claimed):
    print(claimed.trial.number, flush=True)
    time.sleep(float(sys.argv[3]))
    return claimed.settings["lr"]

while study.work(12, step):
    pass
"""


@pytest.fixture(scope="module")
def url():
    pytest.importorskip("psycopg")
    with postgres() as address:
        yield address


def machine(folder: Path, url: str, seconds: float) -> subprocess.Popen[str]:
    """Start a worker whose study folder is its own, as on another machine."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", MACHINE, str(folder), url, str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_machines_share_a_study_and_take_over_from_a_dead_one(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    study = Study.create(tmp_path / "a" / "shared", url, make_spec())
    doomed = machine(tmp_path / "b" / "shared", url, 60)
    assert doomed.stdout and doomed.stdout.readline() == "0\n"
    doomed.send_signal(signal.SIGKILL)
    time.sleep(3)  # until it counts as dead
    both = [machine(tmp_path / name / "shared", url, 0.05) for name in ("c", "d")]
    numbers = [line for one in both for line in one.communicate(timeout=120)[0].split()]
    assert all(one.returncode == 0 for one in both)
    assert len(numbers) == len(set(numbers))
    progress = study.progress(12)
    assert 12 <= progress.complete <= 13  # two machines may take the last one at once
    assert progress.running == 0
    trials = study.inner.get_trials()
    again = [trial for trial in trials if trial.user_attrs.get("first") == 0]
    assert [trial.params for trial in again] == [trials[0].params]


def test_the_command_searches_on_a_database(cli, url: str, dataset_folder: Path, tmp_path: Path):
    command = ("tune", "cnn", "--data", dataset_folder, "--epochs", 1, "--image-size", 16,
               "--study", "studies/on-pg", "--json")  # fmt: skip
    result = cli(*command, "--trials", 2, "--storage", url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["trials"]["complete"] == 2
    assert "studies/on-pg/best.toml" in {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert url not in "".join(
        p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".log", ".toml", ".json")
    )
    forgotten = cli(*command, "--trials", 2, cwd=tmp_path)
    assert forgotten.returncode == 2
    assert "is a study on a database: pass its --storage" in forgotten.stderr
