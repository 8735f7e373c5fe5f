"""A search from Python: silent, typed, and resumable."""

from pathlib import Path

import pytest

from agecli.config import CnnConfig, read_settings
from agecli.errors import UsageError
from agecli.tuning.study import Study, StudyProgress
from agecli.tuning.tune import SearchObserver, tune

SMALL = {"image_size": 16, "batch_size": 16, "epochs": 2, "limit": 48, "device": "cpu"}


class Listener(SearchObserver):
    def __init__(self) -> None:
        self.studies: list[tuple[Study, int]] = []
        self.done: list[int] = []

    def opened(self, study: Study, workers: int) -> None:
        self.studies.append((study, workers))

    def progressed(self, progress: StudyProgress) -> None:
        self.done.append(progress.done)


def test_a_search_tells_what_it_found_and_resumes(
    dataset_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture
):
    listener, folder = Listener(), tmp_path / "study"
    given = {"data": dataset_folder, "study": folder, **SMALL}
    found = tune("cnn", trials=1, pruner="none", observer=listener, **given)
    assert capfd.readouterr() == ("", "")
    assert found.trials == {"complete": 1, "pruned": 0, "failed": 0}
    assert found.best == found.defaults == found.top[0]
    assert found.best.epochs == 2 and found.best.settings["lr"] == CnnConfig.lr
    assert all(path.is_file() for path in found.files)
    ((study, workers),) = listener.studies
    assert (study.folder, workers, listener.done[0]) == (folder, 1, 0)
    more = tune("cnn", trials=2, study=folder)  # the settings are the study's
    assert more.trials["complete"] == 2
    assert [row.value for row in more.top] == sorted((r.value for r in more.top), reverse=True)
    best = read_settings(folder / "best.toml", CnnConfig)
    assert more.best.settings.items() <= best.items()
    (folder / "best.toml").unlink()  # as where the search was killed in front of writing it
    tune("cnn", trials=2, study=folder)
    assert read_settings(folder / "best.toml", CnnConfig) == best
    with pytest.raises(UsageError, match="--image-size 16, not 32"):
        tune("cnn", study=folder, image_size=32)


def test_a_search_writes_over_nothing_of_others(dataset_folder: Path, tmp_path: Path):
    for name in ("report.html", "best.toml", "history.png"):
        (tmp_path / name).write_text("my own")
        with pytest.raises(
            UsageError, match=f"--study: .*{name} exists and was not written by this"
        ):
            tune("cnn", trials=1, study=tmp_path, data=dataset_folder, **SMALL)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_wrong_settings_make_no_study(dataset_folder: Path, tmp_path: Path):
    folder = tmp_path / "study"
    with pytest.raises(UsageError, match="unknown settings: wings"):
        tune("cnn", study=folder, wings=2)
    with pytest.raises(UsageError, match="is not a model"):
        tune("vgg", study=folder)
    assert not folder.exists()
