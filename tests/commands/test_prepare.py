"""`agecli prepare` as a user types it: what it prints, and the one line of every misuse."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from agecli.commands.prepare import _split_arguments
from agecli.data.store import open_dataset
from tests.archives import SPREAD_AGES, write_archive
from tests.data.pictures import textured, write_set, write_textured

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "Faces"
    write_textured(folder, SPREAD_AGES * 2)
    return folder


# What it prints


def test_the_table_tells_what_was_made(cli, folder, tmp_path):
    name = "39_1_20170116174525125.jpg.chip.jpg"
    source = tmp_path / "Faces"
    write_textured(source, SPREAD_AGES * 2)
    textured(90).save(source / name)
    (source / "8_0_0_20180101000000001.jpg").write_text("no picture")
    archive = write_archive(source, tmp_path / "Faces.tar.gz")
    result = cli("prepare", archive, "--size", 32, cwd=tmp_path, COLUMNS="100")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for text in (
        "data/faces",
        "22, 21 used",
        f"1: {name}",
        "1: unreadable: not an image",
        "0 images in 0 clusters",
        "split hash",
        "38-43",
    ):
        assert text in result.stdout
    assert open_dataset(tmp_path / "data" / "faces").images.shape == (22, 32, 32, 3)


def test_json_is_the_receipt(cli, folder, tmp_path):
    result = cli("prepare", folder, tmp_path / "out", "--size", 32, "--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "receipt.json").read_text())


def test_brackets_in_a_name_are_not_markup(cli, tmp_path):
    (tmp_path / "in").mkdir()
    name = "30_0_0_20170101000000001[bold].jpg"
    textured(0).save(tmp_path / "in" / name)
    result = cli("prepare", tmp_path / "in", tmp_path / "out [red]", "--size", 32)
    assert result.returncode == 0, result.stderr
    assert name in result.stdout
    assert "out [red]" in result.stdout


def test_options_reach_the_receipt(cli, folder, tmp_path):
    options = (
        "--scheme",
        "0-17,18+",
        "--seed",
        7,
        "--conflicts",
        "keep",
        "--folds",
        3,
        "--audit",
        1,
        "--size",
        16,
        "--store",
        "compressed",
    )
    result = cli("prepare", folder, tmp_path / "out", *options, "--workers", 1, "--json")
    receipt = json.loads(result.stdout)
    assert receipt["scheme"] == ["0-17", "18+"]
    assert receipt["options"] == {
        "scheme": "0-17,18+", "seed": 7, "conflicts": "keep", "folds": 3, "audit": 1,
        "size": 16, "store": "compressed",
    }  # fmt: skip


def test_out_is_the_last_of_several_unless_it_is_a_source(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new, archive = tmp_path / "new", tmp_path / "More.tar.gz"
    (tmp_path / "empty").mkdir()
    assert _split_arguments([folder, new]) == ([folder], new)
    assert _split_arguments([folder, tmp_path / "empty"]) == ([folder], tmp_path / "empty")
    assert _split_arguments([folder])[1].as_posix() == "data/faces"
    assert _split_arguments([archive])[1].as_posix() == "data/more"
    sources, out = _split_arguments([archive, folder])
    assert sources == [archive, folder]
    assert out.as_posix() == "data/more"


def test_each_source_is_reported_and_cropped_where_its_faces_do_not_lie_as_in_chips(cli, tmp_path):
    portrait = Image.open(ROOT / "demo/examples/astronaut.jpg")
    write_textured(tmp_path / "Faces", SPREAD_AGES)
    (tmp_path / "people/40").mkdir(parents=True)
    for number in range(3):
        portrait.rotate(4 * number).save(tmp_path / f"people/40/{number}.png")
    result = cli("prepare", "Faces", "people", "out", "--size", 32, cwd=tmp_path, COLUMNS="150")
    assert result.returncode == 0, result.stderr
    assert "Faces: 10 images, utkface by file names; not cropped: their names" in result.stdout
    assert "people: 3 images, folders by folders' names; cropped: landmarks" in result.stdout
    options = ("people", "out", "--size", 32, "--force", "--json")
    for option, cropped in (("--no-detect", False), ("--detect", True)):
        receipt = json.loads(cli("prepare", *options, option, cwd=tmp_path).stdout)
        assert [(o["cropped"], o["why"]) for o in receipt["origins"]] == [(cropped, "as told")]


def test_file_names_may_carry_the_labels(cli, tmp_path):
    write_set(tmp_path / "in", ["0_PersonOne_35_f.jpg", "1_PersonTwo_61_m.jpg", "notes.jpg"])
    result = cli("prepare", "in", "out", "--names", "agedb", "--size", 32, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "1 of in, its name does not match --names: notes.jpg" in " ".join(result.stdout.split())
    assert open_dataset(tmp_path / "out").persons.tolist() == ["PersonOne", "PersonTwo"]


# Misuse: one line, and the right exit code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.tar.gz"], 1, "No such file or folder: none.tar.gz"),
        (["empty", "out"], 1, "No images in empty"),
        (["notes.txt", "out"], 1, "neither a folder nor one of"),
        (["cut.tar.gz", "out"], 1, "cut short"),
        (["unnamed", "out"], 1, "pass the ages by --csv"),
        (["text", "out"], 1, "None of the 1 images can be used: unreadable: not an image"),
        (["Faces", "unnamed"], 1, "No file name in unnamed starts with an age"),
        (["Faces", "out", "--csv", "none.csv"], 1, "No such file: none.csv"),
        (["Faces", "out", "--csv", "bad.csv"], 1, "bad.csv line 2"),
        (["Faces", "out", "--slices", "hair"], 1, "--slices: no table has a column hair"),
        (["Faces", "out", "--slices", "sex, hair"], 2, "--slices: sex is always read"),
        (["Faces", "out", "--slices", ""], 2, "--slices: pass the names"),
        (["Faces", "out", "--names", "{sex}.jpg"], 2, "--names {sex}.jpg: it has no {age}"),
        (["Faces", "out", "--names", "agedb"], 1, "No file name in Faces matches --names agedb"),
        (["Faces", "out", "--layout", "imdb"], 2, "--layout: 'imdb' is not one of adience"),
        (
            ["Faces", "out", "--layout", "adience"],
            1,
            "does not have the layout adience: fold_0_data.txt",
        ),
        (["Faces", "out", "--layout", "utkface", "--names", "cacd"], 2, "pass one of them"),
        ([], 2, "Missing argument 'SOURCE"),
        (["Faces", "out", "--scheme", "young,old"], 2, "--scheme: 'young' is not an age group"),
        (["Faces", "out", "--scheme", "4-6,0-2"], 2, "--scheme: group '0-2' overlaps"),
        (["Faces", "out", "--size", "4"], 2, "--size: 4 is not between 16 and 1024"),
        (["Faces", "out", "--seed", "-1"], 2, "--seed"),
        (["Faces", "out", "--size", "big"], 2, "Invalid value for '--size'"),
        (["Faces", "out", "--conflicts", "burn"], 2, "'burn' is not one of"),
        (["Faces", "out", "--workers", "0"], 2, "--workers"),
        (["Faces", "out", "--colour"], 2, "No such option: --colour"),
    ],
)
def test_misuse_is_one_line(cli, one_line, folder, workplace, arguments, code, message):
    line = one_line(cli("prepare", *arguments, cwd=workplace), code)
    assert message in line
    assert not (workplace / "out").exists()


@pytest.fixture(scope="module")
def workplace(folder, tmp_path_factory):
    """Return a folder with everything that can be wrong."""
    place = tmp_path_factory.mktemp("workplace")
    (place / "Faces").symlink_to(folder)
    for name in ("empty", "unnamed", "text"):
        (place / name).mkdir()
    (place / "notes.txt").write_text("no archive")
    (place / "text" / "30_0_0_20170101000000001.jpg").write_text("no picture")
    textured(0).save(place / "unnamed" / "face.jpg")
    (place / "bad.csv").write_text("path,age\nface.jpg,old\n")
    whole = write_archive(folder, place / "whole.tar.gz")
    (place / "cut.tar.gz").write_bytes(whole.read_bytes()[:2000])
    whole.unlink()
    return place


def test_a_second_run_asks_for_force(cli, one_line, folder, tmp_path):
    out = tmp_path / "out"
    assert cli("prepare", folder, out, "--size", 16).returncode == 0
    assert "--force replaces it" in one_line(cli("prepare", folder, out, "--size", 16))
    assert cli("prepare", folder, out, "--size", 16, "--force").returncode == 0


def test_the_current_folder_cannot_be_out(cli, one_line, folder, tmp_path):
    assert "current folder" in one_line(cli("prepare", folder, ".", cwd=tmp_path), 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(cli, one_line, folder, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in one_line(cli("prepare", folder, tmp_path / "out"))


def test_help_shows_every_example(cli):
    result = cli("prepare", "--help", COLUMNS="100")
    assert result.returncode == 0
    for line in ("agecli prepare UTKFace.tar.gz", "prepare AgeDB/ --names agedb"):
        assert line in result.stdout
