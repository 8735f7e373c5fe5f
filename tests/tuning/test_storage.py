"""The journal, which outlives its writers, and the URLs of databases."""

from pathlib import Path

import pytest

from agecli.errors import TrainingError, UsageError
from agecli.tuning.storage import JOURNAL, open_storage
from agecli.tuning.study import Study
from tests.tuning.studies import make_study


@pytest.mark.parametrize("half", [b'{"op_code":4,"wor', b"x" * 200_000])
def test_what_a_killed_writer_left_by_half_is_taken_off(tmp_path: Path, half: bytes):
    study = make_study(tmp_path / "s")
    study.work(2, lambda claimed: 0.5)
    journal = tmp_path / "s" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + half)
    again = Study.open(tmp_path / "s")
    assert again and again.progress(2).complete == 1
    again.work(2, lambda claimed: 0.7)
    assert journal.read_bytes().startswith(whole + b"{")
    last = Study.open(tmp_path / "s")
    assert last and last.progress(2).history == [0.5, 0.7]


@pytest.mark.parametrize("url", ["studies.db", "sqlite:///x.db", "oracle://host/x"])
def test_a_url_of_no_database_is_wrong_usage(tmp_path: Path, url: str):
    with pytest.raises(UsageError, match=r"--storage: takes a URL as postgresql://"):
        open_storage(tmp_path, url, lambda study, trial: None)


def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agecli.tuning.storage.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "agecli\[mysql\]"'):
        open_storage(tmp_path, "mysql://me@host/x", lambda study, trial: None)


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path):
    pytest.importorskip("psycopg")
    with pytest.raises(TrainingError, match="does not answer") as caught:
        open_storage(tmp_path, "postgresql://me:secret@127.0.0.1:9/x", lambda study, trial: None)
    assert "secret" not in str(caught.value)
