"""Two processes against one with the same batches."""

import json
import re
from pathlib import Path

import pytest

from tests.launching import launch
from tests.training.parallel import run_all


@pytest.fixture(scope="module")
def one(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of one process."""
    out = tmp_path_factory.mktemp("one")
    run_all(dataset_folder, out)
    return out


@pytest.fixture(scope="module")
def two(one: Path, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of two processes."""
    out = tmp_path_factory.mktemp("two")
    results = launch("-m", "tests.training.parallel", dataset_folder, out)
    assert [result.returncode for result in results] == [0, 0], [r.stderr for r in results]
    return out


def history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["cnn", "accumulated", "capsnet", "resnet", "dinov2"])
def test_two_stopped_processes_train_as_one_with_the_same_batches(one: Path, two: Path, name: str):
    records = list(zip(history(one / name), history(two / name), strict=True))
    for first, second in records:
        for loss in ("train_loss", "val_loss"):
            assert second[loss] == pytest.approx(first[loss], abs=3e-6)


def test_features_of_two_processes_are_the_file_of_one(one: Path, two: Path):
    (first,), (second,) = ([*(out / "view" / "features").iterdir()] for out in (one, two))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("name", "lines"), [("predicted.0", 12), ("predicted.csv", 13), ("evaluated.0", 1)]
)
def test_two_processes_answer_as_one(one: Path, two: Path, name: str, lines: int):
    texts = [(folder / name).read_text() for folder in (one, two)]
    # How fast it was is all that may differ.
    alone, together = (re.sub(r'"images_per_second": [0-9.]+', "", text) for text in texts)
    assert alone == together
    assert len(alone.splitlines()) == lines


def test_only_the_first_process_speaks_and_writes(two: Path):
    assert (two / "predicted.1").read_text() == (two / "evaluated.1").read_text() == ""
    log = (two / "cnn" / "log.txt").read_text().splitlines()
    assert len(log) == 2 and all("× 2" in line for line in log)  # it went on once
