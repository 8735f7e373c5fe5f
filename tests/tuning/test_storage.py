"""The journal, which outlives its writers, and the URLs of databases."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agecli.errors import TrainingError, UsageError
from agecli.tuning.storage import JOURNAL, open_storage
from agecli.tuning.study import Claimed, Study
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


def change_line(lines: list[dict], key: str, **changes: object) -> None:
    """Change the last of a journal's lines that has a key."""
    [line for line in lines if key in line][-1].update(changes)


@pytest.mark.parametrize(
    "change",
    [lambda lines: change_line(lines, "op_code", op_code=99),
     lambda lines: change_line(lines, "values", values=["best"]),
     lambda lines: change_line(lines, "values", values=None),
     lambda lines: change_line(lines, "directions", directions=[1, 1]),
     lambda lines: change_line(lines, "datetime_start", datetime_start=3),
     lambda lines: change_line(lines, "param_name", param_name="wings"),
     lambda lines: change_line(lines, "param_name", distribution="[" * 100_000),
     lambda lines: change_line(lines, "intermediate_value", step="first"),
     lambda lines: lines.insert(3, []),
     lambda lines: lines.insert(3, {"op_code": 4})],
)  # fmt: skip
def test_a_journal_that_cannot_be_is_named(tmp_path: Path, change: Callable[[list], None]):
    def train(claimed: Claimed) -> float:
        claimed.trial.report(0.4, 1)
        return 0.5

    make_study(tmp_path / "s").work(2, train)
    journal = tmp_path / "s" / JOURNAL
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    change(lines)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(TrainingError, match=r"journal\.log is damaged .*another --study") as caught:
        Study.open(tmp_path / "s")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("url", ["studies.db", "sqlite:///x.db", "oracle://host/x"])
def test_a_url_of_no_database_is_wrong_usage(tmp_path: Path, url: str):
    with pytest.raises(UsageError, match=r"--storage: takes a URL such as postgresql://"):
        open_storage(tmp_path, url, lambda study, trial: None)


def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agecli.tuning.storage.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "agecli\[mysql\]"'):
        open_storage(tmp_path, "mysql://me@host/x", lambda study, trial: None)


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path):
    pytest.importorskip("psycopg")
    with pytest.raises(TrainingError, match="does not respond") as caught:
        open_storage(tmp_path, "postgresql://me:secret@127.0.0.1:9/x", lambda study, trial: None)
    assert "secret" not in str(caught.value)
