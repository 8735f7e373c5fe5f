"""Trials: claimed once each, however many workers there are and however they end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna import TrialPruned
from optuna.trial import TrialState

from agecli.errors import TrainingError, UsageError
from agecli.tuning.study import Claimed, Study
from tests.tuning.studies import make_study

ROOT = Path(__file__).parent.parent.parent

HAMMER = """
import sys
from pathlib import Path
from agecli.tuning.study import Study

folder, trials = Path(sys.argv[1]), int(sys.argv[2])
study = Study.open(folder)

def step(claimed):
    with (folder / "ran.txt").open("a") as file:
        file.write(f"{claimed.trial.number}\\n")
    claimed.trial.report(claimed.settings["lr"], 1)
    return claimed.settings["lr"]

while study.work(trials, step):
    pass
"""


def draw(study: Study, trials: int) -> list[dict]:
    """Work through a study, and give the settings of its trials."""
    drawn: list[dict] = []

    def train(claimed: Claimed) -> float:
        drawn.append(claimed.settings)
        return claimed.settings["lr"]

    while study.work(trials, train):
        pass
    return drawn


def test_the_first_trial_is_the_defaults_and_the_best_is_found(tmp_path: Path):
    study = make_study(tmp_path / "s")
    drawn = draw(study, 6)
    assert drawn[0] == {"lr": 1e-3, "augment": "light"}
    progress = study.progress(6)
    assert (progress.complete, progress.done, progress.running) == (6, 6, 0)
    assert progress.best and progress.best.value == max(d["lr"] for d in drawn)
    rates = [d["lr"] for d in drawn]
    assert progress.history == [max(rates[: n + 1]) for n in range(6)]


def test_less_loss_is_better(tmp_path: Path):
    study = make_study(tmp_path / "s", metric="val_loss")
    drawn = draw(study, 6)
    best = study.progress(6).best
    assert best and best.value == min(d["lr"] for d in drawn)


def test_defaults_outside_the_space_are_not_forced_into_it(tmp_path: Path):
    space = {"lr": {"low": 0.1, "high": 0.2}}
    assert 0.1 <= draw(make_study(tmp_path / "s", space=space), 1)[0]["lr"] <= 0.2


def test_trials_follow_from_the_seed_whoever_draws_them(tmp_path: Path):
    whole = draw(make_study(tmp_path / "a" / "s"), 14)
    make_study(tmp_path / "b" / "s")
    parts = []
    for trials in (5, 12, 14):  # by three workers, one after the other
        study = Study.open(tmp_path / "b" / "s")
        assert study
        parts += draw(study, trials)
    assert parts == whole
    assert draw(make_study(tmp_path / "c" / "s", asked={"seed": 1}), 3)[1:] != whole[1:3]


def test_tpe_comes_nearer_than_chance(tmp_path: Path):
    # An independent truth: of 30 random draws a quarter lies in any quarter of the range.
    study = make_study(tmp_path / "s", space={"dropout": {"low": 0.0, "high": 0.8}})
    drawn: list[float] = []

    def train(claimed: Claimed) -> float:
        drawn.append(claimed.settings["dropout"])
        return -abs(claimed.settings["dropout"] - 0.7)

    while study.work(30, train):
        pass
    assert sum(0.6 <= value <= 0.8 for value in drawn[15:]) >= 10


def test_failed_and_pruned_trials_count_and_others_do_not_stop(tmp_path: Path):
    study = make_study(tmp_path / "s")
    ends = iter([TrainingError("The loss became nan"), TrialPruned(), 0.5])

    def train(claimed: Claimed) -> float:
        claimed.trial.report(0.1, 1)
        end = next(ends)
        if isinstance(end, Exception):
            raise end
        return end

    while study.work(3, train):
        pass
    progress = study.progress(3)
    assert (progress.failed, progress.pruned, progress.complete) == (1, 1, 1)
    assert progress.finished[0].user_attrs["error"] == "The loss became nan"


def test_other_errors_end_the_work_and_cost_no_trial(tmp_path: Path):
    study = make_study(tmp_path / "s")

    def train(claimed: Claimed) -> float:
        raise UsageError("--data: wrong")

    with pytest.raises(UsageError, match="--data"):
        study.work(3, train)
    assert study.progress(3).done == 0
    assert len(draw(study, 3)) == 3


def hammer(folder: Path, trials: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HAMMER, str(folder), str(trials)], cwd=ROOT)


def test_four_workers_lose_and_duplicate_no_trial_though_one_is_killed(tmp_path: Path):
    trials, folder = 200, tmp_path / "s"
    study = make_study(folder)
    workers = [hammer(folder, trials) for _ in range(4)]
    while study.progress(trials).done < 60:
        assert any(worker.poll() is None for worker in workers)
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    for worker in workers:
        worker.wait(timeout=120)
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, 0, 0, 0]
    draw(study, trials)  # what the killed one held while the others left
    progress = study.progress(trials)
    assert progress.complete == trials
    assert progress.running == 0
    every = study.inner.get_trials()
    assert [trial.number for trial in every] == list(range(len(every)))
    assert len(every) <= trials + 1
    ran = (folder / "ran.txt").read_text().split()
    assert len(ran) == len(set(ran)) >= trials - 1


def test_a_killed_trial_is_tried_again_with_its_settings_in_its_folder(tmp_path: Path):
    study = make_study(tmp_path / "s")
    draw(study, 1)
    held = "\n".join(
        [
            "import os; from pathlib import Path; from agecli.tuning.study import Study",
            f"Study.open(Path({str(tmp_path / 's')!r})).work(9, lambda claimed: os._exit(9))",
        ]
    )
    for attempt in (1, 2, 3, 4):
        assert subprocess.run([sys.executable, "-c", held], cwd=ROOT).returncode == 9
        tries = [t for t in study.inner.get_trials() if t.number]
        assert len(tries) == attempt
        assert tries[-1].state == TrialState.RUNNING
        again = tries[-1].params == tries[0].params
        assert again == (attempt <= 3)  # the fourth one stops on these settings
    taken: list[Claimed] = []

    def train(claimed: Claimed) -> float:
        taken.append(claimed)
        return 0.5

    study.work(9, train)
    assert taken[0].folder.name == "0004"
    assert study.progress(9).complete == 2


def test_a_trial_that_was_stopped_is_tried_again_however_often(tmp_path: Path):
    study = make_study(tmp_path / "s")
    draw(study, 1)
    stopped = "\n".join(
        [
            "import os; from pathlib import Path; from agecli.tuning.study import Study",
            "def stop(claimed): claimed.mark_stopped(); os._exit(1)",
            f"Study.open(Path({str(tmp_path / 's')!r})).work(9, stop)",
        ]
    )
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", stopped], cwd=ROOT).returncode == 1
    tries = [trial for trial in study.inner.get_trials() if trial.number]
    assert len(tries) == 5 and all(trial.params == tries[0].params for trial in tries)
    taken: list[Claimed] = []

    def train(claimed: Claimed) -> float:
        taken.append(claimed)
        return 0.5

    study.work(9, train)
    assert taken[0].folder.name == "0001" and taken[0].trial.params == tries[0].params
    assert not list((tmp_path / "s").rglob("*.stopped"))


def test_a_worker_that_lives_keeps_its_trial(tmp_path: Path):
    study, other = make_study(tmp_path / "s"), Study.open(tmp_path / "s")
    assert other
    outer: list[dict] = []

    def train(claimed: Claimed) -> float:
        outer.extend(draw(other, 2))  # while this one runs, one of two trials is left
        assert other.progress(2).running == 1
        return 0.5

    assert study.work(2, train)
    assert len(outer) == 1
    assert not study.work(2, train)


def test_a_folder_without_a_study_has_none(tmp_path: Path):
    assert Study.open(tmp_path) is None
    assert not any(tmp_path.iterdir())


def test_the_space_and_the_settings_survive_the_storage(tmp_path: Path):
    study = make_study(tmp_path / "s", asked={"image_size": 64, "batch_size": 32})
    again = Study.open(tmp_path / "s")
    assert again
    assert again.spec.base == study.spec.base
    assert again.spec.dimensions == study.spec.dimensions
    assert again.spec.base.image_size == 64
