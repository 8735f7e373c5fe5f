"""A data set opened for one fold: its splits, what it leaves out, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest

from agecli.config import PrepareConfig
from agecli.data.manifest import COLUMNS
from agecli.data.prepare import prepare
from agecli.data.split import split_hash
from agecli.data.store import MANIFEST, RECEIPT, open_dataset
from agecli.errors import DataError
from tests.archives import SPREAD_AGES
from tests.data.pictures import write_textured


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a data set of 200 pictures in four folds, of which two show another age on a copy."""
    source = tmp_path_factory.mktemp("source")
    write_textured(source, SPREAD_AGES * 20)
    write_textured(source, [50, 60], quality=80)
    (source / "1_0_0_20170101009990000.jpg").write_text("no picture")
    out = tmp_path_factory.mktemp("data") / "folds"
    prepare([source], out, PrepareConfig(size=32, folds=4), workers=1)
    return out


def _rewrite(folder, out, **columns):
    """Copy a data set with other values in columns of the manifest: functions of the old row."""
    shutil.copytree(folder, out)
    with (folder / MANIFEST).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = [row | {name: change(row) for name, change in columns.items()} for row in rows]
    with (out / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    used = [(row["sha256"], row["split"]) for row in rows if row["split"]]
    receipt = json.loads((out / RECEIPT).read_text())
    receipt |= {"manifest": "", "split_hash": split_hash(*map(list, zip(*used, strict=True)))}
    (out / RECEIPT).write_text(json.dumps(receipt))
    return out


@pytest.mark.parametrize("fold", range(4))
def test_the_fold_is_the_test_split(folder, fold):
    plain, data = open_dataset(folder), open_dataset(folder, fold)
    assert (plain.fold, data.fold) == (None, fold)
    assert data.rows("test").tolist() == np.flatnonzero(data.folds == fold).tolist()
    sizes = {split: len(data.rows(split)) for split in ("train", "val", "test")}
    assert 48 <= sizes["test"] <= 54
    assert 15 <= sizes["val"] <= 20
    assert sum(sizes.values()) >= 198
    assert (data.splits == "").tolist() == (plain.splits == "").tolist()


def test_each_fold_has_a_split_hash_of_its_own(folder):
    hashes = {open_dataset(folder, fold).split_hash for fold in (None, 0, 1, 2, 3)}
    assert len(hashes) == 5
    assert open_dataset(folder, 1).split_hash in hashes
    assert open_dataset(folder).split_hash == open_dataset(folder).receipt.split_hash


def test_copies_of_other_ages_train_in_no_fold(folder):
    clusters = open_dataset(folder).clusters
    odd = np.flatnonzero(np.bincount(clusters[clusters >= 0]) == 2)
    assert len(odd) == 2
    for fold in range(4):
        data = open_dataset(folder, fold)
        left_out = np.isin(clusters, odd) & (data.splits == "train")
        assert ((data.excluded != "") & (data.splits != "")).tolist() == left_out.tolist()


def test_what_leaks_into_the_plain_split_may_still_train(folder, tmp_path):
    reason = "its copy or person is in test"
    out = _rewrite(
        folder, tmp_path / "out", excluded=lambda row: reason if row["split"] == "train" else "",
    )  # fmt: skip
    assert not len(open_dataset(out).rows("train"))
    assert (open_dataset(out, 0).rows("train") == open_dataset(folder, 0).rows("train")).all()


def test_what_cannot_be_used_is_in_no_fold(folder, tmp_path):
    out = _rewrite(
        folder, tmp_path / "out",
        excluded=lambda row: "no face found" if row["fold"] == "1" else row["excluded"],
    )  # fmt: skip
    assert not len(open_dataset(out, 1).rows("test"))


def test_a_fold_that_is_not_there_is_refused(folder, dataset_folder):
    with pytest.raises(DataError, match=r"--fold: .* has no fold 4, but 0, 1, 2, 3"):
        open_dataset(folder, 4)
    with pytest.raises(DataError, match=r"has no folds: `agecli prepare \.\.\. --folds 5` makes"):
        open_dataset(dataset_folder, 0)


@pytest.mark.parametrize("digest", ["zz" * 32, "ab"])
def test_damaged_digests_are_one_line(folder, tmp_path, digest):
    out = _rewrite(folder, tmp_path / "out", sha256=lambda row: digest)
    with pytest.raises(DataError, match="is damaged"):
        open_dataset(out, 0)
