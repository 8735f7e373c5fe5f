"""From sources to a data set: equal from every source, complete or not at all."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from agecli.config import PrepareConfig
from agecli.data import split
from agecli.data.prepare import prepare
from agecli.data.receipt import Clusters
from agecli.data.staging import staged
from agecli.data.store import IMAGES, MANIFEST, RECEIPT, open_dataset
from agecli.errors import DataError, DiskError, UsageError
from tests.archives import SPREAD_AGES, jpeg_bytes
from tests.data.pictures import (
    cramped_crop,
    deadly_crop,
    failing_crop,
    picky_crop,
    textured,
    write_textured,
)

ROOT = Path(__file__).parent.parent.parent
SMALL = PrepareConfig(size=32)


def _prepare(sources, out, config=SMALL, **options):
    sources = sources if isinstance(sources, list) else [sources]
    return prepare(sources, out, config, workers=options.pop("workers", 1), **options)


def _manifest(out):
    with (out / MANIFEST).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 60 pictures, of all groups and two gap ages."""
    folder = tmp_path_factory.mktemp("source") / "Faces"
    write_textured(folder, SPREAD_AGES * 6)
    return folder


@pytest.fixture(scope="module")
def out(folder, tmp_path_factory):
    """Return the data set of that folder."""
    out = tmp_path_factory.mktemp("data") / "faces"
    _prepare(folder, out)
    return out


# What is made


def test_rows_are_sorted_pictures_with_their_labels(folder, out):
    rows = _manifest(out)
    names = sorted(path.name for path in folder.iterdir())
    assert [row["id"] for row in rows] == names
    for row in rows:
        age, sex, race = row["id"].split("_")[:3]
        assert row["age"] == age
        assert row["sex"] == ("male", "female")[int(sex)]
        assert row["race"] == ("White", "Black", "Asian", "Indian", "other")[int(race)]
        assert row["sha256"] == sha256((folder / row["id"]).read_bytes()).hexdigest()
        assert row["source"] == "Faces"
        assert row["excluded"] == ""


def test_images_are_pils_decoded_and_resized(folder, out):
    data = open_dataset(out)
    for row in (0, 30, 59):
        image = Image.open(folder / data.ids[row]).resize((32, 32), Image.Resampling.BILINEAR)
        assert (data.images[row] == np.asarray(image)).all()


def test_the_receipt_agrees_with_the_manifest(out):
    rows, receipt = _manifest(out), json.loads((out / RECEIPT).read_text())
    assert receipt["images"] == receipt["used"] == len(rows) == 60
    assert list(receipt["counts"]) == [
        "0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+", "gap",
    ]  # fmt: skip
    assert all(
        sum(counts.values()) == 6 for group, counts in receipt["counts"].items() if group != "gap"
    )
    assert sum(receipt["counts"]["gap"].values()) == 12
    by_split = Counter(row["split"] for row in rows)
    assert by_split == {
        name: sum(counts[name] for counts in receipt["counts"].values()) for name in by_split
    }
    pairs = [(row["sha256"], row["split"]) for row in rows]
    assert receipt["split_hash"] == split.split_hash(*map(list, zip(*pairs, strict=True)))
    assert receipt["repaired_names"] == []
    assert receipt["unreadable"] == receipt["excluded"] == {}


def test_progress_is_reported_from_nothing_to_all(folder, tmp_path):
    told = []
    _prepare(folder, tmp_path / "out", progress=lambda *args: told.append(args))
    decoded = [done for stage, done, total in told if stage == "decode" and total == 60]
    assert decoded[0] == 0
    assert decoded[-1] == 60
    assert decoded == sorted(decoded)
    assert told[-1] == ("audit", 1, 1)


# The same from everywhere


def _pack(folder, path):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.iterdir(), reverse=True):
                archive.write(file, f"{folder.name}/{file.name}")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".zip"])
def test_an_archive_gives_what_its_folder_gives(folder, out, tmp_path, suffix):
    _prepare(_pack(folder, tmp_path / f"Faces{suffix}"), tmp_path / "out")
    for name in (MANIFEST, RECEIPT, IMAGES):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes(), name


def test_two_workers_give_what_one_gives(folder, out, tmp_path):
    _prepare(folder, tmp_path / "out", workers=2)
    for name in (MANIFEST, RECEIPT, IMAGES):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes(), name


def test_content_decides_the_split_not_names(folder, out, tmp_path):
    renamed = tmp_path / "Renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        age, sex, race, _ = path.name.split("_")
        shutil.copy(path, renamed / f"{age}_{sex}_{race}_2020{number:010}.jpg")
    receipt = _prepare(renamed, tmp_path / "out")
    assert receipt.split_hash == json.loads((out / RECEIPT).read_text())["split_hash"]


def test_the_seed_changes_the_split(folder, out, tmp_path):
    receipt = _prepare(folder, tmp_path / "out", PrepareConfig(size=32, seed=1))
    assert receipt.split_hash != json.loads((out / RECEIPT).read_text())["split_hash"]


def test_several_sources_make_one_data_set(folder, out, tmp_path):
    paths = sorted(folder.iterdir())
    halves = []
    for name, part in (("a", paths[::2]), ("b", paths[1::2])):
        (tmp_path / name / "Faces").mkdir(parents=True)
        for path in part:
            shutil.copy(path, tmp_path / name / "Faces")
        halves.append(tmp_path / name / "Faces")
    receipt = _prepare([halves[0], _pack(halves[1], tmp_path / "Faces.tar")], tmp_path / "out")
    assert (tmp_path / "out" / MANIFEST).read_bytes() == (out / MANIFEST).read_bytes()
    assert receipt.sources == ["Faces"]


def test_one_name_in_two_sources_is_two_pictures(tmp_path):
    name = "5_0_0_20170101000000001.jpg"
    for number in (0, 1):
        (tmp_path / str(number) / "Faces").mkdir(parents=True)
        textured(number).save(tmp_path / str(number) / "Faces" / name)
    both = [tmp_path / "0" / "Faces", tmp_path / "1" / "Faces"]
    assert _prepare(both, tmp_path / "out").images == 2


def test_a_source_given_twice_counts_once(folder, tmp_path):
    assert _prepare([folder, folder / ".." / "Faces"], tmp_path / "out").images == 60


def test_other_groups_change_the_counts(folder, tmp_path):
    receipt = _prepare(folder, tmp_path / "out", PrepareConfig(scheme="0-17,18+", size=32))
    sums = {group: sum(counts.values()) for group, counts in receipt.counts.items()}
    assert sums == {"0-17": 30, "18+": 30, "gap": 0}


# Labels


ODD_NAMES = [
    "24_0_1_20170116220224657 .jpg.chip.jpg",
    "39_1_20170116174525125.jpg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
]


def test_odd_names_are_kept_and_listed(tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate([*ODD_NAMES, "30_0_0_20170101000000000.jpg", "no_age.jpg"]):
        textured(number).save(tmp_path / "in" / name)
    receipt = _prepare(tmp_path / "in", tmp_path / "out")
    assert receipt.repaired_names == ODD_NAMES
    assert (receipt.images, receipt.unlabelled) == (6, 1)
    rows = {row["id"]: (row["age"], row["sex"], row["race"]) for row in _manifest(tmp_path / "out")}
    assert rows[ODD_NAMES[1]] == ("39", "", "")
    assert rows[ODD_NAMES[0]] == ("24", "male", "Black")


@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_gives_the_ages(tmp_path, packed):
    source = tmp_path / "pictures"
    (source / "sub").mkdir(parents=True)
    for number, name in enumerate(["a.jpg", "sub/b.jpg", "not listed.jpg"]):
        textured(number).save(source / name)
    labels = tmp_path / "labels.csv"
    labels.write_text("path,age,sex\na.jpg,3,girl\n./sub/b.jpg,70,\nnowhere.jpg,5,\n")
    if packed:
        source = _pack(source, tmp_path / "pictures.tar")
    receipt = _prepare(source, tmp_path / "out", labels=labels)
    rows = [(row["id"], row["age"], row["sex"]) for row in _manifest(tmp_path / "out")]
    assert rows == [("a.jpg", "3", "girl"), ("sub/b.jpg", "70", "")]
    assert (receipt.images, receipt.unlabelled, receipt.missing) == (2, 1, 1)


def test_own_splits_are_kept_and_copies_do_not_leak(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(12):
        textured(number).save(source / f"{number}.png")
    shutil.copy(source / "2.png", source / "copy.png")
    splits = ["train", "val", "test"] * 4
    text = "path,age,split,score\n" + "".join(f"{i}.png,30,{s},x\n" for i, s in enumerate(splits))
    (tmp_path / "labels.csv").write_text(text + "copy.png,30,train,x\n")
    receipt = _prepare(source, tmp_path / "out", labels=tmp_path / "labels.csv")
    rows = {row["id"]: row for row in _manifest(tmp_path / "out")}
    assert [rows[f"{number}.png"]["split"] for number in range(12)] == splits
    assert rows["copy.png"]["excluded"] == "its copy or person is in test"
    assert receipt.excluded == {"its copy or person is in test": 1}
    assert receipt.unused_columns == ["score"]
    assert len(open_dataset(tmp_path / "out").rows("train")) == 4


def test_a_persons_pictures_lie_in_one_split(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(60):
        textured(number).save(source / f"{number}.png")
    text = "path,age,identity\n" + "".join(f"{i}.png,30,{i % 20}\n" for i in range(60))
    (tmp_path / "labels.csv").write_text(text)
    _prepare(source, tmp_path / "out", labels=tmp_path / "labels.csv")
    rows = _manifest(tmp_path / "out")
    assert len({row["cluster"] for row in rows}) == 60
    homes = {(int(row["id"][:-4]) % 20, row["split"]) for row in rows}
    assert len(homes) == 20
    assert len({split for _, split in homes}) == 3


def test_sources_without_labels_say_what_to_do(folder, tmp_path):
    (tmp_path / "in").mkdir()
    textured(0).save(tmp_path / "in" / "face.jpg")
    with pytest.raises(DataError, match=r"starts with an age.*--csv"):
        _prepare(tmp_path / "in", tmp_path / "out")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,age\nother.jpg,3\n")
    with pytest.raises(DataError, match=r"No image of .* is named in"):
        _prepare(tmp_path / "in", tmp_path / "out", labels=labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No images in .*empty"):
        _prepare([folder, tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Pictures that cannot be used


def test_unreadable_pictures_are_rows_with_a_reason(tmp_path):
    source = tmp_path / "in"
    write_textured(source, SPREAD_AGES)
    bad = {
        "1_0_0_20180101000000001.jpg": b"a text file",
        "2_0_0_20180101000000001.jpg": jpeg_bytes(textured(50))[:-300],
        "3_0_0_20180101000000001.jpg": b"",
    }
    for name, data in bad.items():
        (source / name).write_bytes(data)
    receipt = _prepare(source, tmp_path / "out")
    assert receipt.unreadable == {
        "1_0_0_20180101000000001.jpg": "unreadable: not an image",
        "2_0_0_20180101000000001.jpg": "unreadable: cut short",
        "3_0_0_20180101000000001.jpg": "unreadable: empty file",
    }
    assert (receipt.images, receipt.used) == (13, 10)
    data = open_dataset(tmp_path / "out")
    used = np.concatenate([data.rows(name) for name in ("train", "val", "test")])
    assert len(used) == 10
    assert not set(data.ids[used]) & set(bad)
    assert not any(row["split"] for row in _manifest(tmp_path / "out") if row["id"] in bad)


def test_a_source_of_which_nothing_can_be_read_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1_0_0_20180101000000001.jpg").write_text("a text file")
    with pytest.raises(DataError, match=r"None of the 1 images.*not an image"):
        _prepare(tmp_path / "in", tmp_path / "out")
    assert _names(tmp_path) == ["in"]


def test_a_photograph_without_a_face_is_excluded(folder, tmp_path):
    receipt = _prepare(folder, tmp_path / "out", crop=picky_crop)
    bright = sum(np.asarray(Image.open(path)).mean() > 127 for path in folder.iterdir())
    assert 0 < bright < 60
    assert receipt.excluded == {"no face found": 60 - bright}
    assert receipt.used == bright


# Copies


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Return 40 pictures thrice: again byte for byte, and recompressed at another age."""
    source = tmp_path_factory.mktemp("copies") / "in"
    write_textured(source, [30] * 40)
    write_textured(source, [30] * 20 + [35] * 10 + [36] * 10, quality=80)
    for path in list(source.glob("30_*_*_2017010100095*")):
        shutil.copy(path, source / f"31{path.name[2:]}")
    return source


def test_copies_make_clusters_that_lie_in_one_split(copies, tmp_path):
    receipt = _prepare(copies, tmp_path / "out")
    clusters = {}
    for row in _manifest(tmp_path / "out"):
        clusters.setdefault(row["cluster"], []).append(row)
    assert [len(rows) for rows in clusters.values()] == [3] * 40
    for rows in clusters.values():
        assert len({row["split"] for row in rows}) == 1
    assert receipt.clusters == Clusters(
        of_several=40, images=120, identical_files=40, conflicting_ages=40, over_2_years=20,
        over_5_years=10,
    )  # fmt: skip


def test_copies_over_five_years_apart_are_dropped_from_training_only(copies, tmp_path):
    receipt = _prepare(copies, tmp_path / "out")
    rows = _manifest(tmp_path / "out")
    apart = {row["cluster"] for row in rows if row["age"] == "36"}
    excluded = [row for row in rows if row["excluded"]]
    assert excluded == [row for row in rows if row["cluster"] in apart and row["split"] == "train"]
    assert 0 < len(excluded) < 30
    assert receipt.excluded == {"copies more than 5 years apart": len(excluded)}
    assert receipt.used == 120 - len(excluded)


def test_conflicts_can_be_kept_and_leave_the_split_as_it_is(copies, tmp_path):
    kept = _prepare(copies, tmp_path / "kept", PrepareConfig(size=32, conflicts="keep"))
    assert kept.used == 120
    assert kept.split_hash == _prepare(copies, tmp_path / "dropped").split_hash


def test_grey_cropped_and_brighter_copies_lie_in_one_split(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(20):
        picture = textured(number, 200)
        for kind, copy in enumerate([
            picture,
            picture.convert("L"),
            ImageEnhance.Brightness(picture).enhance(1.1),
            picture.crop((5, 5, 195, 195)),
        ]):  # fmt: skip
            copy.save(tmp_path / "in" / f"30_0_0_2017010{kind}{number:09}.jpg", quality=90)
    homes = {}
    _prepare(tmp_path / "in", tmp_path / "out", PrepareConfig(size=96))
    for row in _manifest(tmp_path / "out"):
        homes.setdefault(row["id"][-8:], set()).add((row["cluster"], row["split"]))
    assert [len(home) for home in homes.values()] == [1] * 20
    assert len({cluster for home in homes.values() for cluster, _ in home}) == 20


def test_the_earlier_audit_makes_the_earlier_split(tmp_path):
    """The hash by the version that had no other audit; of bitmaps, so that no codec counts."""
    (tmp_path / "in").mkdir()
    for number in range(30):
        picture = textured(number)
        for kind, copy in enumerate([
            picture, ImageEnhance.Brightness(picture).enhance(1.03), picture.convert("L"),
        ]):  # fmt: skip
            copy.convert("RGB").save(tmp_path / "in" / f"30_0_0_2017010{kind}{number:09}.bmp")
    first, second = (
        _prepare(tmp_path / "in", tmp_path / str(audit), PrepareConfig(size=32, audit=audit))
        for audit in (1, 2)
    )
    assert (first.options["audit"], second.options["audit"]) == (1, 2)
    assert first.split_hash == "a558a1313c42bb09f76cd66e654cd02184926947fdf2bb22cf68915c5cf9fbd9"
    assert second.split_hash != first.split_hash
    assert first.clusters.images < second.clusters.images == 90


# Completely or not at all


def test_an_existing_data_set_is_only_replaced_by_force(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    with pytest.raises(DataError, match="--force"):
        _prepare(folder, out, PrepareConfig(size=16))
    assert open_dataset(out).images.shape[1] == 32
    _prepare(folder, out, PrepareConfig(size=16), force=True)
    assert open_dataset(out).images.shape[1] == 16
    assert _names(tmp_path) == ["out"]


def test_a_failure_under_force_leaves_the_old_data_set(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    with pytest.raises(DiskError, match=r"No room for .*out \(No space left on device\): 0\.2 MB"):
        _prepare(folder, out, force=True, crop=failing_crop)
    assert len(open_dataset(out).ids) == 60
    assert _names(tmp_path) == ["out"]


def test_a_folder_that_is_not_a_data_set_is_never_touched(folder, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(DataError, match="not a data set"):
            _prepare(folder, tmp_path / "thesis", force=force)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_an_empty_folder_may_become_the_data_set_but_not_the_current_one(
    folder, tmp_path, monkeypatch
):
    (tmp_path / "out").mkdir()
    _prepare(folder, tmp_path / "out")
    assert open_dataset(tmp_path / "out")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="current folder"):
        _prepare(folder, Path())


def test_a_link_leads_to_where_the_data_set_is_made(folder, tmp_path):
    (tmp_path / "large disk").mkdir()
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "large disk" / "faces")
    _prepare(folder, link)
    assert link.is_symlink()
    assert _names(tmp_path / "large disk") == ["faces"]
    assert open_dataset(link)


def test_what_a_killed_run_left_does_not_get_in(folder, tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half").write_text("written")
    _prepare(folder, tmp_path / "out")
    assert sorted(_names(tmp_path / "out")) == sorted([IMAGES, MANIFEST, RECEIPT])


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_kill_between_renames_loses_no_data_set(folder, tmp_path, monkeypatch, exchanged):
    """At every moment the name or the next run gives a whole data set, old or new."""
    from agecli.data import staging

    out = tmp_path / "out"
    _prepare(folder, out)
    if not exchanged:
        monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    replace, rmtree, calls = Path.replace, shutil.rmtree, []

    def kill(path, target):
        calls.append(target)
        if target == out:
            raise SystemExit  # between the two
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", kill)
        clear = lambda path, **_: path.name == "work" and rmtree(path)  # noqa: E731
        patched.setattr(shutil, "rmtree", clear)  # a kill clears nothing away
        with suppress(SystemExit):
            _prepare(folder, out, PrepareConfig(size=16), force=True)
    assert out.exists() == exchanged == (not calls)
    with pytest.raises(DataError, match="is already a data set"):
        _prepare(folder, out)
    assert open_dataset(out).images.shape[1] == (16 if exchanged else 32)
    _prepare(folder, out, force=True)
    assert _names(tmp_path) == ["out"]


def test_force_spares_what_is_not_of_prepare(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    (out / "features").mkdir()
    _prepare(folder, out, force=True)
    (out / "notes.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"--force: .*out contains notes\.txt"):
        _prepare(folder, out, force=True)
    (out / "notes.txt").rename(out / "manifest.csv.tar")
    with pytest.raises(
        UsageError, match=r"--force: .*csv\.tar is in .*out, which would be replaced"
    ):
        _prepare([out / "manifest.csv.tar"], out, force=True)


def test_two_at_once_do_not_mix(folder, tmp_path):
    with staged(tmp_path / "out") as other:
        (other / MANIFEST).write_text("by the other")
        with pytest.raises(DataError, match="written by another process"):
            _prepare(folder, tmp_path / "out")
        assert (other / MANIFEST).read_text() == "by the other"
    assert _names(tmp_path) == ["out"]


def test_a_full_disk_is_reported_before_the_work(folder, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 60 * 32 * 32 * 3 - 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"Not enough disk space for .*out: .*--size"):
        _prepare(folder, tmp_path / "out")
    assert _names(tmp_path) == []
    usage.free += 1
    assert _prepare(folder, tmp_path / "out")


def test_a_disk_that_fills_up_midway_leaves_nothing(folder, tmp_path):
    with pytest.raises(DiskError, match=r"No room for .*out \(File too large\): 0\.2 MB needed"):
        _prepare(folder, tmp_path / "out", crop=cramped_crop)
    assert _names(tmp_path) == []


# What one bad input costs


def test_a_picture_that_is_not_there_is_a_row(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "Faces")
    first, *_ = names = sorted(path.name for path in folder.iterdir())
    (tmp_path / "Faces" / first).unlink()
    (tmp_path / "Faces" / first).symlink_to("nowhere")
    receipt = _prepare(tmp_path / "Faces", tmp_path / "out")
    assert receipt.unreadable == {first: "unreadable: no such file or directory"}
    assert [row["id"] for row in _manifest(tmp_path / "out")] == names
    assert receipt.used == 59 and not open_dataset(tmp_path / "out").images[:1].any()


def test_a_picture_that_ends_its_worker_is_a_row(tmp_path):
    write_textured(tmp_path / "Faces", SPREAD_AGES)
    bright = Image.new("RGB", (32, 32), "white")
    bright.save(tmp_path / "Faces" / "33_0_0_20180101000000001.jpg")
    receipt = _prepare(tmp_path / "Faces", tmp_path / "out", crop=deadly_crop, workers=2)
    assert receipt.unreadable == {"33_0_0_20180101000000001.jpg": "unreadable: the decoder crashed"}
    assert receipt.used == len(SPREAD_AGES)
    data = open_dataset(tmp_path / "out")
    assert all(
        image.any() == (not lost) for image, lost in zip(data.images, data.excluded, strict=True)
    )


def test_a_folder_that_cannot_be_opened_and_files_that_are_not_pictures_are_reported(
    tmp_path, monkeypatch
):
    write_textured(tmp_path / "Faces", SPREAD_AGES)
    write_textured(tmp_path / "Faces" / "closed", SPREAD_AGES, first=20)
    (tmp_path / "Faces" / "notes.txt").write_text("of the photographer")
    scan = os.scandir

    def refuse(path):
        if path == tmp_path / "Faces" / "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    receipt = _prepare(tmp_path / "Faces", tmp_path / "out")
    assert receipt.unreadable == {"closed/": "unreadable: permission denied"}
    assert receipt.skipped == ["notes.txt"]
    assert receipt.images == receipt.used == len(SPREAD_AGES)


# Ctrl-C and kill

SLOWLY = """
import sys
from agecli import cli
from agecli.faces import detector
from tests.data.pictures import slow_crop
detector.crop_largest = slow_crop
if __name__ == "__main__":
    cli.main()
"""


def _start_slowly(folder, out):
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, "prepare", folder, out, "--detect", "--workers", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _alive(session):
    """List the running processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _wait(condition, seconds=120):  # a loaded machine may take long
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _partial_images(out):
    return out.with_name(f".{out.name}.partial") / IMAGES


def _has_pictures(path):
    return path.exists() and path.stat().st_blocks > 8  # the file is sparse before


def _workers_are_starting(process):
    if len(_alive(process.pid)) < 3:
        return False
    time.sleep(0.05)  # they are importing
    return True


MOMENTS = {
    "as workers start": lambda process, out: _workers_are_starting(process),
    "midway": lambda process, out: _has_pictures(_partial_images(out)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing_behind(folder, tmp_path, moment):
    out = tmp_path / "out"
    process = _start_slowly(folder, out)
    _wait(lambda: MOMENTS[moment](process, out))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, "")
    assert stderr in ("", "agecli: interrupted\n")
    assert _names(tmp_path) == []
    _wait(lambda: _alive(process.pid) == [])


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_leaves_no_data_set_and_no_process_and_the_next_run_succeeds(folder, tmp_path, moment):
    out = tmp_path / "out"
    process = _start_slowly(folder, out)
    _wait(lambda: MOMENTS[moment](process, out))
    process.kill()
    process.communicate(timeout=120)
    assert not out.exists()
    _wait(lambda: _alive(process.pid) == [])
    _prepare(folder, out)
    assert len(open_dataset(out).ids) == 60
    assert _names(tmp_path) == ["out"]


# The real archive


@pytest.mark.realdata
def test_utkface_is_what_an_independent_count_says(utkface, tmp_path):
    """Against the count over all 23,704 files: 375 equal groups, 1,093 near pairs; here 21,370."""
    receipt = prepare([utkface], tmp_path / "utkface", PrepareConfig(size=112))
    assert receipt.images == 21_370
    assert receipt.unreadable == {}
    assert receipt.repaired_names == ODD_NAMES
    share = 21_370 / 23_704  # of pairs, the square of it is left at most; of files in one, more
    clusters = receipt.clusters
    assert 375 * share**2 < clusters.identical_files < 375
    assert 1093 * share**2 / 2 < clusters.of_several < 1093
    assert 482 * share**2 / 2 < clusters.over_2_years < 482
    counts = receipt.counts
    for group, by_split in counts.items():
        whole = sum(by_split.values())
        assert abs(by_split["test"] - whole / 10) < 0.01 * whole + 5, group
    gap = sum(counts["gap"].values()) / receipt.used
    assert gap == pytest.approx(0.29, abs=0.01)
