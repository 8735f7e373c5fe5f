"""Images whose labels are doubted, from a file to trainings without them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from agecli.config import PrepareConfig
from agecli.data.doubtful import read_doubtful
from agecli.data.prepare import prepare
from agecli.data.store import open_dataset
from agecli.errors import DataError, UsageError
from tests.archives import SPREAD_AGES, write_faces

IMAGES = [("A", "1, b.jpg"), ("A", "2.jpg"), ("B", "3.jpg")]


@pytest.mark.parametrize("text", ["3.jpg\n\n1, b.jpg\ngone.jpg\n", "\ufeff1, b.jpg\r\n3.jpg\r\nx"])
def test_a_text_file_has_an_id_a_line(tmp_path: Path, text: str):
    path = tmp_path / "ids.txt"
    path.write_bytes(text.encode())
    found = read_doubtful(path, IMAGES)
    assert found.rows == [0, 2]
    assert found.images == [IMAGES[0], IMAGES[2]]
    assert found.unknown == 1


def test_a_csv_file_has_a_column_of_them(tmp_path: Path):
    path = tmp_path / "ids.csv"
    path.write_text('disagreement,ID\n0.9,"1, b.jpg"\n0.8,2.jpg\n0.8,2.jpg\n')
    assert read_doubtful(path, IMAGES).rows == [0, 1]
    path.write_text("id,source\n2.jpg,B\n3.jpg,B\n")
    assert read_doubtful(path, IMAGES).rows == [2]


def test_a_file_that_names_nothing_is_one_line(tmp_path: Path):
    path = tmp_path / "ids.txt"
    path.write_text("4.jpg\n")
    with pytest.raises(DataError, match=r"--doubtful: no line of .*ids.txt is the id of an image"):
        read_doubtful(path, IMAGES)
    with pytest.raises(DataError, match=r"No such file: .*gone \(--doubtful\)"):
        read_doubtful(tmp_path / "gone", IMAGES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "Drawn"
    write_faces(folder, SPREAD_AGES * 6)
    return folder


def test_doubtful_images_do_not_train_and_are_tested(source: Path, tmp_path: Path):
    config = PrepareConfig(size=16, folds=3)
    prepare(source, tmp_path / "plain", config, workers=1)
    plain = open_dataset(tmp_path / "plain")
    path = tmp_path / "ids.txt"
    path.write_text("\n".join([*plain.ids[::2], "gone.jpg"]))
    receipt = prepare(source, tmp_path / "less", config, doubtful=path, workers=1)
    less = open_dataset(tmp_path / "less")
    for split in ("val", "test"):
        assert less.rows(split).tolist() == plain.rows(split).tolist()
    train = plain.rows("train")
    assert less.rows("train").tolist() == train[train % 2 == 1].tolist()
    assert less.split_hash == plain.split_hash
    assert receipt.excluded == {"doubtful": int((train % 2 == 0).sum())}
    assert receipt.missing == 1
    with (tmp_path / "less" / "manifest.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert {row["id"] for row in rows if row["excluded"] == "doubtful"} == {
        *plain.ids[train][train % 2 == 0]
    }
    for fold in range(3):  # also those that the plain split tests on
        own = open_dataset(tmp_path / "less", fold)
        assert (own.rows("train") % 2 == 1).all()
        assert own.rows("test").tolist() == np.flatnonzero(plain.folds == fold).tolist()
        within = open_dataset(tmp_path / "less", fold, within_train=True)
        assert (within.rows("train") % 2 == 1).all()
        assert (within.rows("test") % 2 == 0).any()


def test_the_file_is_not_part_of_what_is_replaced(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepare(source, out, PrepareConfig(size=16), workers=1)
    with pytest.raises(UsageError, match=r"manifest.csv is in"):
        prepare(source, out, PrepareConfig(size=16), doubtful=out / "manifest.csv", force=True)


def test_the_command_counts_them(cli, source: Path, tmp_path: Path):
    path = tmp_path / "ids.txt"
    path.write_text("\n".join(sorted(file.name for file in source.iterdir())))
    result = cli("prepare", source, tmp_path / "out", "--doubtful", path, "--workers", 1)
    assert result.returncode == 0, result.stderr
    assert ": doubtful" in result.stdout
