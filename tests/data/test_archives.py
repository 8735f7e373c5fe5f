"""Tars and zips, walked through: every file's bytes lie where it is said."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from agecli.data import archives
from agecli.data.archives import walk_tar

NAMES = ["a.jpg", "ü.jpg", "folder/" + "n" * 88 + ".jpg", "x" * 150 + ".jpg", "p/" * 60 + "b.jpg"]
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def _tar(path, form):
    rng = random.Random(0)
    files = {name: rng.randbytes(700 + 100 * number) for number, name in enumerate(NAMES)}
    if form == tarfile.USTAR_FORMAT:
        del files[NAMES[3]]  # too long for it
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            tar.addfile(_folder(name))
    return files


def _folder(name):
    folder = tarfile.TarInfo(f"{name[:20]} folder")
    folder.type = tarfile.DIRTYPE
    return folder


def _bytes_at(place):
    with Path(place.path).open("rb") as file:
        file.seek(place.offset)
        return file.read(place.size)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_files_lie_where_tarfile_finds_them(tmp_path, form):
    files = _tar(tmp_path / "a.tar", form)
    found = {
        entry.name: _bytes_at(entry.place) for entry in walk_tar(tmp_path / "a.tar", b"", tmp_path)
    }
    assert found == files


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_plain_headers_are_read_as_tarfile_reads_them(tmp_path, form, monkeypatch):
    _tar(tmp_path / "a.tar", form)
    quick = [*walk_tar(tmp_path / "a.tar", b"", tmp_path)]
    monkeypatch.setattr(archives._StrictHeader, "_plain", lambda archive: None)
    assert [*walk_tar(tmp_path / "a.tar", b"", tmp_path)] == quick


def test_a_tar_of_global_headers_is_left_to_tarfile(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", pax_headers={"comment": "of all"}) as tar:
        member = tarfile.TarInfo("a.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    (entry,) = walk_tar(tmp_path / "a.tar", b"", tmp_path)
    assert (entry.name, _bytes_at(entry.place)) == ("a.jpg", b"abc")
