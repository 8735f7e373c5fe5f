"""Reading videos and cameras, against the pictures that were written."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.errors import AgecliError, ImageError, UsageError
from agecli.video import frames
from agecli.video.frames import (
    Frame,
    frame_rate,
    is_video,
    newest,
    read_camera,
    read_frame,
    read_video,
)
from tests.video.videos import SIZE, scene, write_video

SECONDS, RATE = 5, 10


def bar(step: int) -> Image.Image:
    """Return an image whose number is the length of a bar, in tens of pixels."""
    image = Image.new("RGB", SIZE)
    image.paste((255, 255, 255), (0, 100, 10 * step, 170))
    return image


def step_of(image: Image.Image) -> int:
    return round((np.asarray(image)[135, :, 1] > 127).sum() / 10)


@pytest.fixture(scope="module", params=[".mp4", ".mkv", ".webm", ".mov", ".avi"])
def video(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / f"12:30 clip{request.param}"
    return write_video(path, map(bar, range(SECONDS * RATE)), RATE)


@pytest.mark.parametrize(("fps", "every"), [(2, 5), (10, 1), (60, 1), (0.5, 20), (3, None)])
def test_frames_are_sampled(video: Path, fps: float, every: int | None):
    read = list(read_video(video, fps))
    steps = range(0, SECONDS * RATE, every) if every else [0, 4, 7, 10, 14, 17, 20, 24, 27, 30, 34,
                                                           37, 40, 44, 47]  # fmt: skip
    assert [step_of(frame.image) for frame in read] == list(steps)
    np.testing.assert_allclose([frame.seconds for frame in read], np.array(steps) / RATE, atol=2e-3)
    np.testing.assert_allclose(
        [frame.share for frame in read], np.array(steps) / RATE / SECONDS, atol=0.02
    )
    assert read[0].image.size == SIZE


def test_a_limit_and_laziness(video: Path):
    assert [step_of(frame.image) for frame in read_video(video, 2, limit=1.5)] == [0, 5, 10]
    drawn = read_video(video, 2)
    assert step_of(next(drawn).image) == 0
    drawn.close()


def test_one_frame_by_its_time(video: Path):
    for step in (0, 1, 17, 30, 49):
        assert step_of(read_frame(video, step / RATE)) == step
    with pytest.raises(ImageError, match="no frame at 9"):
        read_frame(video, 9)


def test_a_video_that_was_filmed_upright_is_turned(tmp_path: Path):
    """Phones write a matrix into the track's header (ISO 14496-12, tkhd), here 90° clockwise."""
    left_bright = Image.new("RGB", SIZE)
    left_bright.paste((255, 255, 255), (0, 0, SIZE[0] // 2, SIZE[1]))
    path = write_video(tmp_path / "phone.mp4", [left_bright] * 3)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    numbers = (0, 1 << 16, 0, -1 << 16, 0, 0, SIZE[1] << 16, 0, 1 << 30)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data)
    image = next(read_video(path)).image
    assert image.size == SIZE[::-1]
    top, bottom = np.array_split(np.asarray(image).mean((1, 2)), 2)
    assert top.mean() > 250  # what was on the left is above after a turn clockwise
    assert bottom.mean() < 5


def test_a_cut_video_gives_what_it_has_and_says_so(tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), np.uint8)) for _ in range(30)]
    for name in ("a.mp4", "a.mkv"):
        path = write_video(tmp_path / name, noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        read: list[Frame] = []
        with pytest.raises(ImageError, match=r"ends after [01]\.\d of 3\.0 seconds"):
            draw_into(read, read_video(path))
        assert [frame.seconds for frame in read][:2] == [0, 0.5]


def draw_into(read: list[Frame], frames: Iterator[Frame]) -> None:
    for frame in frames:
        read.append(frame)


def test_a_damaged_video_is_read_on(tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), np.uint8)) for _ in range(30)]
    path = write_video(tmp_path / "a.mp4", noise)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300_000] = bytes(300_000)
    path.write_bytes(data)
    read: list[Frame] = []
    with pytest.raises(ImageError, match=r"damaged: \d+ of its frames cannot be decoded"):
        draw_into(read, read_video(path))
    assert [frame.seconds for frame in read][-1] == 2.5


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"not a video", "not a video"), (b"", "empty file"), (None, "no such file")],
)
def test_what_is_not_a_video(tmp_path: Path, content: bytes | None, says: str):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=says):
        next(read_video(path))


def test_sound_alone(tmp_path: Path):
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ImageError, match="contains no video stream"):
        next(read_video(path))


def test_without_pyav(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AgecliError, match=r'pip install "agecli\[video\]"'):
        next(read_video(Path("a.mp4")))
    with pytest.raises(AgecliError, match=r'pip install "agecli\[video\]"'):
        next(read_camera())


def test_no_camera():
    with pytest.raises(AgecliError, match="--webcam: camera 99 cannot be read"):
        next(read_camera(99))


def test_a_camera_shows_what_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """FFmpeg plays a file in a loop and in real time, as a device: 5 s, a step every 0.1 s."""
    path = write_video(tmp_path / "a.mkv", map(bar, range(SECONDS * RATE)), RATE)
    graph = f"movie={path}:loop=0,setpts=N/({RATE}*TB),realtime"
    monkeypatch.setattr(frames, "_camera", lambda number: {"file": graph, "format": "lavfi"})
    camera = read_camera(fps=20)
    first = next(camera)
    assert first.seconds == 0
    time.sleep(1.5)  # the taker is slow
    late = next(camera)
    assert late.seconds >= 1.4
    steps = (step_of(late.image) - step_of(first.image)) % (SECONDS * RATE)
    assert steps == round(late.seconds * RATE)
    camera.close()
    assert [frame.seconds for frame in read_camera(fps=2, limit=1)] == [0, 0.5]


def test_a_camera_that_goes_away(monkeypatch: pytest.MonkeyPatch):
    import av

    def unplugged(container):
        yield 7.0, av.VideoFrame(8, 8, "rgb24")
        raise av.OSError(19, "No such device")

    monkeypatch.setattr(frames, "_camera", lambda _: {"file": "testsrc", "format": "lavfi"})
    monkeypatch.setattr(frames, "_decode", unplugged)
    camera = read_camera()
    assert next(camera).seconds == 0
    with pytest.raises(ImageError, match=r"the camera ended after 0.0 seconds \(no such device\)"):
        next(camera)


def test_a_camera_that_has_nothing_yet_is_asked_again():
    """As FFmpeg's avfoundation does; PyAV's generator is then spent."""
    import av

    packet = type("Packet", (), {"decode": lambda self: [type("F", (), {"time": 1.5})]})()

    class Camera:
        streams = type("Streams", (), {"best": staticmethod(lambda kind: None)})
        asked = 0

        def demux(self, stream: object):
            self.asked += 1
            if self.asked < 3:
                raise av.BlockingIOError(35, "Resource temporarily unavailable")
            yield packet

    assert [now for now, _ in frames._decode(Camera())] == [1.5]


def test_a_playlist_opens_nothing_else(tmp_path: Path):
    write_video(tmp_path / "secret.mp4", [bar(1)] * 5)
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(ImageError, match="invalid argument"):
        next(read_video(tmp_path / "a.mp4"))


def test_newest_drops_what_nobody_asked_for():
    go, closed = threading.Event(), threading.Event()

    def numbers():
        try:
            yield from range(5)
            go.wait(10)
            yield from range(5, 8)
            raise ValueError("unplugged")
        finally:
            closed.set()

    drawn = newest(numbers())
    first = next(drawn)
    time.sleep(0.1)
    second = next(drawn) if first < 4 else 4
    assert second == 4
    go.set()
    with pytest.raises(ValueError, match="unplugged"):
        assert list(drawn)[-1] == 7
    assert closed.wait(1)


def test_newest_lets_its_source_go():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    drawn = newest(endless())
    next(drawn)
    drawn.close()
    assert closed.wait(1)


def test_a_frame_rate_is_a_number_or_all():
    assert frame_rate("all") is None
    assert frame_rate("2.5") == 2.5
    for wrong in ("0", "1e9", "nan", "many", ""):
        with pytest.raises(UsageError, match=f"--fps: '{wrong}' is neither"):
            frame_rate(wrong)


def test_no_damage_raises_or_prints_anything_else(tmp_path: Path, capfd):
    write_video(tmp_path / "a.mp4", [scene()] * 4)
    write_video(tmp_path / "a.webm", [scene()] * 4)
    rng = np.random.default_rng(0)
    for number in range(150):
        data = (tmp_path / ("a.mp4" if number % 2 else "a.webm")).read_bytes()
        broken = bytearray(data[: len(data) - number * len(data) // 400])
        for place in rng.integers(min(len(broken), 3000), size=30):
            broken[place] = rng.integers(256)
        (tmp_path / "broken").write_bytes(broken)
        with suppress(ImageError):
            for _ in read_video(tmp_path / "broken", 5):
                pass
    assert capfd.readouterr().err == ""


def test_a_picture_of_a_video_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "MAX_PIXELS", 640 * 270 - 1)
    path = write_video(tmp_path / "a.mp4", [scene()] * 3)
    with pytest.raises(ImageError):
        list(read_video(path))


@pytest.mark.parametrize("name", ["x.mts", "x.3gp", "x.wmv"])
def test_the_cases_are_videos_of_30_frames(name: str):
    path = Path(__file__).parents[3] / "shared/cases" / name
    if not path.exists():
        pytest.skip("no ../shared")
    assert is_video(path) and len(list(read_video(path, None))) == 30
