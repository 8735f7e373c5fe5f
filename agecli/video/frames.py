"""Read frames from videos and cameras, a few per second. The home of PyAV."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from agecli.config import FPS
from agecli.data.images import MAX_PIXELS
from agecli.data.kinds import kind_of_file
from agecli.errors import AgecliError, ImageError, UsageError

INSTALL = 'pip install "agecli[video]"'

SLOWEST, FASTEST = 0.01, 1000.0
"""Lowest and highest frames per second."""

Item = TypeVar("Item")
Timed = tuple[float, Any]
"""Seconds on the video's clock, and PyAV's frame."""


class Frame(NamedTuple):
    """A frame of a video, upright, in RGB."""

    seconds: float
    """Since the first frame."""
    image: Image.Image
    share: float = 0
    """Share of the video before it, 0 to 1; 0 if unknown."""


def frame_rate(text: str) -> float | None:
    """Parse the frames per second of a video to look at: a number, or None for "all".

    Raises UsageError for anything else.
    """
    if text == "all":
        return None
    with suppress(ValueError):
        if SLOWEST <= float(text) <= FASTEST:
            return float(text)
    raise UsageError(f"--fps: {text!r} is neither a number from {SLOWEST:g} to {FASTEST:g} nor all")


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its content or else by its name."""
    return kind_of_file(path) == "video"


def need_decoder() -> Any:
    """Return PyAV. Raises AgecliError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise AgecliError(f"Videos and cameras need PyAV: {INSTALL}") from error
    return av


def read_video(path: Path, fps: float | None = FPS, limit: float | None = None) -> Iterator[Frame]:
    """Yield the first frame of every 1/fps seconds of a video, up to a limit in seconds.

    fps: None for all frames. They are decoded on demand. Raises ImageError for a file that
    is not a video, and after the frames of one that is damaged or cut short.
    """
    with _open(path) as container:
        length = _length(container)
        for seconds, frame in _sample(_decode(container, length), fps, limit):
            yield Frame(seconds, _upright(frame), min(1, seconds / length) if length else 0)


def read_frame(path: Path, seconds: float) -> Image.Image:
    """Return the frame of a video at a time. Raises ImageError if there is none."""
    with _open(path) as container:
        start, _ = next(_decode(container))
        container.seek(round((start + seconds) * 1e6))  # to the last key frame before it
        for now, frame in _decode(container):
            if now - start > seconds - 0.01:
                return _upright(frame)
    raise ImageError(f"no frame at {seconds} s")


def read_camera(
    number: int = 0, fps: float | None = FPS, limit: float | None = None
) -> Iterator[Frame]:
    """Yield a camera's current frame, fps times per second or as often as one is requested.

    fps: None for as often as possible. Raises AgecliError if there is no such camera,
    ImageError if it is disconnected.
    """
    av = need_decoder()
    seconds = None
    try:
        with (
            av.open(**_camera(number)) as container,
            closing(newest(_decode(container))) as seen,  # its thread ends before the camera closes
        ):
            for seconds, frame in _sample(seen, fps, limit):
                yield Frame(seconds, _upright(frame))
    except (av.FFmpegError, IndexError) as error:
        reason = (getattr(error, "strerror", None) or "no such camera").lower()
        if seconds is not None:
            raise ImageError(f"the camera ended after {seconds:.1f} seconds ({reason})") from error
        raise AgecliError(
            f"--webcam: camera {number} cannot be read ({reason}): "
            "plug one in, or choose another with --camera"
        ) from error


def newest(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield the newest item on each request; older ones are dropped.

    A thread reads them, so that a slow consumer gets current items.
    """
    slot: deque[Item] = deque(maxlen=1)
    came, left = threading.Event(), threading.Event()
    end: list[Exception | None] = []

    def draw() -> None:
        reason = None
        try:
            with closing(items):
                for item in items:
                    slot.append(item)
                    came.set()
                    if left.is_set():
                        break
        except Exception as error:
            reason = error
        end.append(reason)
        came.set()

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        while slot or not end:
            came.wait()
            came.clear()
            if slot:
                yield slot.pop()
        if end[0]:
            raise end[0]
    finally:
        left.set()
        thread.join()


class _File(io.FileIO):
    """A file for PyAV, which would print the exceptions of an impossible seek."""

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Seek to a position; return -1 if that is impossible."""
        try:
            return super().seek(place, whence)
        except OSError:
            return -1


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a video in PyAV; its exceptions within the block become ImageErrors."""
    try:
        av = need_decoder()
    except AgecliError as error:
        raise ImageError(str(error)) from error
    try:
        if not path.stat().st_size:
            raise ImageError("empty file")
        # A file, not its name, which FFmpeg would take for a URL if it has a colon. Files
        # that the video refers to are not opened.
        with (
            _File(path) as file,
            av.open(file, options={"protocol_whitelist": ""}, metadata_errors="replace") as opened,
        ):
            if not opened.streams.video:
                raise ImageError("contains no video stream")
            stream = opened.streams.best("video")
            if not stream.codec_context:
                raise ImageError("its codec is not supported here")
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            yield opened
    except (av.InvalidDataError, av.EOFError) as error:
        raise ImageError("not a video, or cut short") from error
    except (av.FFmpegError, OSError) as error:
        raise ImageError((error.strerror or str(error)).lower()) from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ImageError(f"damaged ({error})") from error  # PyAV trusts what files say


def _camera(number: int) -> dict[str, Any]:
    """Return the arguments with which FFmpeg opens a camera on this system."""
    if sys.platform == "darwin":
        return {"file": str(number), "format": "avfoundation", "options": {"framerate": "30"}}
    if sys.platform == "win32":
        devices = need_decoder().enumerate_input_devices("dshow")
        names = [device.name for device in devices if "video" in device.media_types]
        return {"file": f"video={names[number]}", "format": "dshow"}
    return {"file": f"/dev/video{number}", "format": "v4l2"}


def _decode(container: Any, length: float | None = None) -> Generator[Timed, None, None]:
    """Yield the frames of a container's video; then raise ImageError if some were undecodable.

    length: expected length in seconds, if known.
    """
    av = need_decoder()
    stream = container.streams.best("video")
    packets = container.demux(stream)
    damaged = 0
    first = now = None
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet else None
        except av.BlockingIOError:  # a camera on macOS that has no new frame yet
            time.sleep(0.005)
            packets = container.demux(stream)
            continue
        except av.InvalidDataError:
            damaged += 1
            continue
        if frames is None:
            break
        for frame in frames:
            now = frame.time if frame.time is not None else (now or 0) + 1 / stream.average_rate
            first = now if first is None else first
            yield now, frame
    if first is None or now is None:
        raise ImageError("none of its frames can be decoded")
    if length and length - (now - first) > max(0.5, 0.05 * length):
        raise ImageError(f"ends after {now - first:.1f} of {length:.1f} seconds")
    if damaged:
        raise ImageError(f"damaged: {damaged} of its frames cannot be decoded")


def _length(container: Any) -> float | None:
    """Return a video's length in seconds as stated in its file."""
    stream = container.streams.best("video")
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _sample(frames: Iterator[Timed], fps: float | None, limit: float | None) -> Iterator[Timed]:
    """Yield the first frame of every 1/fps seconds, or all, with the time since the first."""
    start = taken = None
    for now, frame in frames:
        start = now if start is None else start
        seconds = now - start
        if limit is not None and seconds >= limit:
            return
        number = None if fps is None else int(seconds * fps + 1e-6)
        if number is None or number != taken:
            taken = number
            yield round(seconds, 3), frame


def _upright(frame: Any) -> Image.Image:
    """Convert to RGB, rotated as the file says."""
    image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
