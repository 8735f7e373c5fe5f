"""Images and videos are recognised by content, and listed in folders."""

import io
import os
from pathlib import Path

import av
import pytest
from PIL import Image

from agecli.data.kinds import HEAD, PICTURES, VIDEOS, kind_of, kind_of_file, list_files
from tests.video.videos import scene

CASES = Path(__file__).parents[3] / "shared/cases"


def _encode(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    return buffer.getvalue()


def _film(path: Path, codec: str) -> bytes:
    with av.open(str(path), "w", format=path.suffix[1:]) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_image(scene().resize((64, 32)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(
    "kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF"]
)
def test_a_picture_is_recognised_by_its_content(kind):
    head = _encode(kind)[:HEAD]
    assert kind_of("file" if kind == "TIFF" else "film.mp4", head) == "picture"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.3gp", "mpeg4"), ("a.avi", "mpeg4"),
        ("a.matroska", "mpeg4"), ("a.webm", "libvpx"), ("a.asf", "wmv2"), ("a.mpeg", "mpeg1video"),
        ("a.mpegts", "mpeg2video"), ("a.flv", "flv"),
    ],
)  # fmt: skip
def test_a_video_is_recognised_by_its_content(tmp_path, name, codec):
    assert kind_of("picture.jpg", _film(tmp_path / name, codec)[:HEAD]) == "video"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("IMG_0001.HEIC", "picture"), ("x.avif", "picture"), ("noeoi.jpg", "picture"),
        ("x.mts", "video"), ("x.3gp", "video"), ("x.wmv", "video"), ("adience.csv", None),
    ],
)  # fmt: skip
def test_the_cases_are_reported(name, kind):
    if not CASES.exists():
        pytest.skip("no ../shared")
    head = (CASES / name).read_bytes()[:HEAD]
    assert kind_of("IMG_0001", head) == kind


def test_where_the_content_says_nothing_the_name_does():
    assert {kind_of(f"a{suffix}", b"?") for suffix in PICTURES} == {"picture"}
    assert {kind_of(f"a{suffix}".upper(), b"") for suffix in VIDEOS} == {"video"}
    assert {kind_of(name, b"B.Mts, a list of names") for name in ("a.txt", "a.mts", "a")} == {None}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0"), ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1"),
        ("a.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), ("a.nef", b"MM\0*\0\0\0\x08"),
        ("a.ogg", b"OggS\0\2" + bytes(22) + b"\1vorbis"), ("a.wav", b"RIFF\0\0\0\0WAVE"),
    ],
)  # fmt: skip
def test_sound_and_raw_pictures_are_neither(name, head):
    assert kind_of(name, head) is None


def test_a_pipe_is_recognised_by_its_name_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert kind_of_file(tmp_path / "a.jpg") == "picture"  # and does not wait for a writer
    assert kind_of_file(tmp_path / "none.mp4") == "video"


def test_a_folder_is_searched_behind_links_once_and_hidden_files_are_left_out(tmp_path):
    for name in ("b/c.jpg", "b/d/e.txt", ".git/f.jpg", "._g.jpg", "__MACOSX/h.jpg", "__i.jpg"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "j.jpg").touch()
    top = tmp_path / "top"
    (top / "a").symlink_to(top / "b")  # seen where it is
    (top / "b" / "round").symlink_to(top)
    (top / "b" / "self").symlink_to(top / "b" / "self")
    (top / "linked").symlink_to(tmp_path / "elsewhere")
    (top / "k.jpg").symlink_to(tmp_path / "nowhere")
    (top / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(top / "pipe.jpg")
    files, closed = list_files(top)
    assert [str(path.relative_to(top)) for path in files] == [
        "__i.jpg", "b/c.jpg", "b/d/e.txt", "b/self", "k.jpg", "linked/j.jpg",
    ]  # fmt: skip
    assert closed == []


def test_a_folder_that_cannot_be_opened_costs_itself_alone(tmp_path, monkeypatch):
    for name in ("a/b.jpg", "closed/c.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    files, closed = list_files(tmp_path)
    assert files == [tmp_path / "a/b.jpg"]
    assert [(path.name, error.strerror) for path, error in closed] == [
        ("closed", "Permission denied")
    ]
    with pytest.raises(PermissionError):
        list_files(tmp_path / "closed")
