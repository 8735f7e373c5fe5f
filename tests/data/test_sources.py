"""Folders and archives: what is read from them, and what is refused."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from agecli.data import archives, sources
from agecli.data.sources import Contents, name_of, read
from agecli.errors import DataError
from tests.archives import draw_face, jpeg_bytes


def list_members(source: Path) -> Contents:
    """List a source; what is unpacked of it lies beside it."""
    work = source.with_name(f"{source.name} work")
    work.mkdir(exist_ok=True)
    return sources.list_members(source, work)


def contents_of(source: Path) -> dict[str, bytes]:
    """Read all pictures, by their ids."""
    return {member.id: read(member.place) for member in list_members(source).pictures}


NAMES = ["1_0_0_20170101000000001.jpg.chip.jpg", "60_1_3_20170101000000002.jpg.chip.jpg"]


def _tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


# Names


@pytest.mark.parametrize(
    "name", ["Faces", "Faces.tar.gz", "Faces.TGZ", "Faces.zip", "Faces.tar.xz"]
)
def test_folder_and_archive_have_one_name(name):
    assert name_of(Path("somewhere", name)) == "Faces"


def test_the_current_folder_has_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "faces" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "faces" / "in")
    assert [name_of(Path()), name_of(Path(".."))] == ["in", "faces"]


# Folders and archives

FILES = {name: name.encode() for name in NAMES}


def _sources(tmp_path):
    top = {f"UTKFace/{name}": data for name, data in FILES.items()}
    folder = _folder(tmp_path / "folder", FILES)
    dotted = tmp_path / "dotted.tar"
    with tarfile.open(dotted, "w") as tar:
        tar.add(folder, arcname="./UTKFace")
    return [
        folder,
        dotted,
        _tar(tmp_path / "top.tar.gz", top),
        _tar(tmp_path / "top.tar.xz", top, "w:xz"),
        _tar(tmp_path / "flat.tar", FILES, "w"),
        _zip(tmp_path / "top.zip", top),
        _zip(tmp_path / "windows.zip", {f"UTKFace\\{name}": data for name, data in FILES.items()}),
    ]


def test_folder_and_archives_list_the_same_ids_and_bytes(tmp_path):
    for source in _sources(tmp_path):
        assert [member.id for member in list_members(source).pictures] == NAMES, source
        assert contents_of(source) == FILES, source


def test_several_top_folders_stay_part_of_the_ids(tmp_path):
    source = _tar(tmp_path / "two.tar", {"a/1.jpg": b"", "b/1.jpg": b""}, "w")
    assert [member.id for member in list_members(source).pictures] == ["a/1.jpg", "b/1.jpg"]


def test_only_pictures_count_and_hidden_files_do_not(tmp_path):
    names = ["a.JPG", "notes.txt", ".hidden.jpg", "__MACOSX/a.jpg", "sub/b.png", ".git/c.jpg"]
    files = dict.fromkeys(names, b"") | {"__d": jpeg_bytes(draw_face(1, 1)), "e.mp4": b""}
    for source in (
        _folder(tmp_path / "source", files),
        _tar(tmp_path / "source.tar.gz", files),
        _zip(tmp_path / "source.zip", files),
    ):
        found = list_members(source)
        assert sorted(member.id for member in found.pictures) == ["__d", "a.JPG", "sub/b.png"]
        assert sorted(found.others) == ["e.mp4", "notes.txt"]


def test_pictures_may_be_gone_through_again(tmp_path):
    pictures = list_members(_tar(tmp_path / "two.tar.gz", FILES)).pictures
    assert [*pictures] == [*pictures] and pictures


def test_other_files_can_be_read(tmp_path):
    files = {"a.jpg": b"x", "labels.csv": b"path,age\n"}
    for source in (
        _folder(tmp_path / "source", files),
        _tar(tmp_path / "source.tar.gz", files),
        _zip(tmp_path / "source.zip", files),
    ):
        others = list_members(source).others
        assert {name: read(place) for name, place in others.items()} == {
            "labels.csv": b"path,age\n"
        }


def test_a_name_that_comes_twice_is_one_picture(tmp_path):
    source = tmp_path / "twice.tar"
    _tar(source, {"a.jpg": b"first"}, "w")
    _tar(source, {"a.jpg": b"second"}, "a")
    assert contents_of(source) == {"a.jpg": b"first"}


def test_a_name_that_is_not_unicode_gets_an_id_that_can_be_written(tmp_path):
    (tmp_path / "source").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "source") + b"/\xff.jpg")).touch()
    (member,) = list_members(tmp_path / "source").pictures
    assert member.id.encode() == rb"\udcff.jpg"


def test_a_huge_file_is_read_no_further_than_needed(tmp_path):
    files = {"a.jpg": b"x" * 1000}
    for source in (_folder(tmp_path / "a", files), _tar(tmp_path / "a.tar", files, "w")):
        (member,) = list_members(source).pictures
        assert len(read(member.place, 10)) == 11


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:\\a.jpg"]
)
@pytest.mark.parametrize("write", [_tar, _zip])
def test_a_path_that_leads_outside_is_refused(tmp_path, write, name):
    suffix = {_tar: ".tar.gz", _zip: ".zip"}[write]
    source = write(tmp_path / f"evil{suffix}", {"a.jpg": b"", name: b""})
    with pytest.raises(DataError, match="outside its folder"):
        list_members(source)


@pytest.mark.parametrize("write", [_tar, _zip])
def test_a_bomb_is_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(archives, "_BOMB_BYTES", 2**20)
    suffix = {_tar: ".tar.gz", _zip: ".zip"}[write]
    source = write(tmp_path / f"bomb{suffix}", {f"{i}.jpg": bytes(2**20) for i in range(4)})
    assert 200 * source.stat().st_size < 4 * 2**20
    with pytest.raises(DataError, match="refused as a zip bomb"):
        list_members(source)


@pytest.mark.parametrize("write", [_tar, _zip])
def test_a_bomb_of_names_alone_is_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(archives, "_BOMB_BYTES", 2**20)
    suffix = {_tar: ".tar.gz", _zip: ".zip"}[write]
    monkeypatch.setattr(archives, "_BOMB_RATIO", 2)
    source = write(tmp_path / f"bomb{suffix}", {f"{i}.jpg": b"" for i in range(300)})
    with pytest.raises(DataError, match="refused as a zip bomb"):
        list_members(source)


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, abs(size)
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = b"\xff" * 11 + bytes([256 + size])
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _pax(key: str, value: str) -> bytes:
    record = f" {key}={value}\n"
    length = len(record) + len(str(len(record) + 3))
    text = f"{length}{record}".encode()
    return _header("pax", len(text), tarfile.XHDTYPE) + text + bytes(-len(text) % 512)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (_header("a", 2**31, tarfile.GNUTYPE_LONGNAME), "a header of 2147483648 bytes"),
        (_header("a", 2**31, tarfile.XHDTYPE), "a header of 2147483648 bytes"),
        (_header("a", 2**20, tarfile.XGLTYPE), "a header of 1048576 bytes"),
        (_header("a.jpg", -5), "a header of -5 bytes"),
        (_pax("size", "-512") + _header("a.jpg", 0), "negative size"),
        (_pax("GNU.sparse.size", "1e99") + _header("a.jpg", 0), "sparse"),
        (_pax("GNU.sparse.map", "0,x") + _header("a.jpg", 0), "sparse"),
        (_header("a.jpg", 512, tarfile.GNUTYPE_SPARSE), "sparse"),
        (_pax("path", "a.jpg") * 2000 + _header("a.jpg", 0), "recursion"),
        (_header("a", 2**40, b"Z") + _header("b.jpg", 0), "zip bomb"),
    ],
)
def test_a_tar_is_refused_by_what_its_headers_claim(tmp_path, headers, reason):
    source = tmp_path / "a.tar"
    source.write_bytes(headers + bytes(2**20))
    with pytest.raises(DataError, match=reason):
        list_members(source)


def test_a_zip_of_endless_names_is_not_even_listed(tmp_path, monkeypatch):
    source = _zip(tmp_path / "a.zip", {f"{i}.jpg": b"" for i in range(100)})
    monkeypatch.setattr(archives, "_MAX_DIRECTORY", 1000)
    monkeypatch.setattr(zipfile, "ZipFile", lambda file: pytest.fail("was listed"))
    with pytest.raises(DataError, match=r"a\.zip has a directory of over"):
        list_members(source)


def test_a_picture_in_a_zip_in_a_tar_is_none_of_the_tar(tmp_path):
    inner = _zip(tmp_path / "inner.zip", {"inside.jpg": b"x"})
    source = _tar(tmp_path / "outer.tar", {"a.jpg": b"", "b.zip": inner.read_bytes()}, "w")
    found = list_members(source)
    assert [member.id for member in found.pictures] == ["a.jpg"] and [*found.others] == ["b.zip"]


def test_many_small_bytes_are_not_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_BOMB_BYTES", 2**10)
    source = _tar(tmp_path / "fine.tar.gz", {"a.jpg": os.urandom(2**14)})
    assert len([*list_members(source).pictures]) == 1


def test_a_tar_is_refused_wherever_it_was_cut(tmp_path):
    whole = _tar(tmp_path / "whole.tar", {f"{i}.jpg": os.urandom(700) for i in range(3)}, "w")
    data = whole.read_bytes()
    end = 3 * (512 + 1024)  # a header and two blocks per file; then come the zeros that end it
    cut = tmp_path / "cut.tar"
    for length in (0, 100, 512, 600, 1200, 1536, 1600, 2048, 3072, 3100, end - 1, end):
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match="cut short"):
            list_members(cut)
    cut.write_bytes(data[: end + 512])
    assert len([*list_members(cut).pictures]) == 3


@pytest.mark.parametrize("name", ["cut.tar.gz", "cut.tar.xz", "cut.tar.bz2", "cut.zip"])
def test_a_cut_archive_is_refused(tmp_path, name):
    path = tmp_path / name
    files = {f"{i}.jpg": os.urandom(500) for i in range(20)}
    _zip(path, files) if name.endswith("zip") else _tar(path, files, f"w:{path.suffix[1:]}")
    data = path.read_bytes()
    for share in (0.001, 0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match="cut short"):
            list_members(path)


def test_a_broken_header_is_not_the_end(tmp_path):
    source = _tar(tmp_path / "a.tar", {f"{i}.jpg": b"x" for i in range(3)}, "w")
    data = bytearray(source.read_bytes())
    data[1024:1034] = b"0123456789"  # the second name, against its checksum
    source.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        list_members(source)


@pytest.mark.parametrize("suffix", [".xz", ".bz2"])
def test_an_archive_whose_packing_is_damaged_is_refused(tmp_path, suffix):
    source = tmp_path / f"a.tar{suffix}"
    _tar(source, {f"{i}.jpg": os.urandom(5000) for i in range(20)}, f"w:{suffix[1:]}")
    data = bytearray(source.read_bytes())
    data[50_000:50_064] = bytes(64)
    source.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar\.\w+ is cut short, damaged or encrypted"):
        list_members(source)


def test_a_damaged_zip_is_refused_when_read(tmp_path):
    source = _zip(tmp_path / "a.zip", {"a.jpg": os.urandom(500)})
    data = bytearray(source.read_bytes())
    data[200:210] = bytes(10)
    source.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        list_members(source)


def test_an_encrypted_zip_is_refused(tmp_path):
    source = _zip(tmp_path / "a.zip", {"a.jpg": b"x"})
    data = bytearray(source.read_bytes())
    data[6] |= 1  # the local header's flag for encryption
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and the directory's
    source.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        list_members(source)


def test_what_is_not_a_source_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no archive")
    (tmp_path / "text.tar.gz").write_text("no archive")
    for name, reason in (
        ("none.tar.gz", "No such file or folder"),
        ("notes.txt", "neither a folder nor one of"),
        ("text.tar.gz", "damaged"),
    ):
        with pytest.raises(DataError, match=reason):
            list_members(tmp_path / name)
