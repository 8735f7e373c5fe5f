"""Small videos of a portrait that moves about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
from PIL import Image

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
SIZE = (640, 270)


def portraits() -> tuple[Image.Image, Image.Image]:
    """Return two heads, 240 px high, with faces of some 90 px: one, and its dark mirror image."""
    head = Image.open(PORTRAIT).convert("RGB").crop((110, 20, 350, 260))
    mirrored = head.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return head, mirrored.point(lambda value: value * 6 // 10)


def scene(*placed: tuple[Image.Image, int]) -> Image.Image:
    """Place heads before a plain wall, each with its left side at x."""
    image = Image.new("RGB", SIZE, (90, 110, 120))
    for head, x in placed:
        image.paste(head, (x, 15))
    return image


def write_video(path: Path, frames: Iterable[Image.Image], rate: int = 10) -> Path:
    """Encode pictures, with a key frame per second."""
    codec = "libvpx" if path.suffix == ".webm" else "mpeg4"
    fast = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {}
    layout = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=layout) as container:
        stream = container.add_stream(codec, rate=rate, options=fast)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = rate
        stream.codec_context.bit_rate = 4_000_000
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path
