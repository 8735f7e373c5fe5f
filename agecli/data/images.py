"""Decode images of any mode, size or orientation."""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, Jpeg2KImagePlugin, JpegImagePlugin

from agecli.data.kinds import HEAD, kind_of
from agecli.data.mending import JPEG_START, SCAN, png_pixels, whole_jpeg
from agecli.errors import ImageError

_PLUGINS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")
"""Pillow's formats that may be read: some others start programs."""
MAX_BYTES = 128 * 2**20
MAX_PIXELS = 64_000_000
"""Most pixels of a decoded image."""
DRAFT_PIXELS = 32_000_000
"""JPEGs with more pixels are decoded at 1/2 or 1/4 of their side: a face that fills a
thousandth of such an image still has 90 px."""
REDUCED_PIXELS = 16_000_000
"""JPEG 2000 images with more pixels are decoded at 1/2: the decoder takes 20 bytes per pixel."""
MAX_JPEG_PIXELS = 256_000_000
"""Most bytes of a file; a progressive JPEG is held in memory completely, at any scale."""

MAX_SCANNED = 4_000_000_000
"""Most pixels times scans of a progressive JPEG: each scan passes over all pixels."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise it prints to stderr

_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns an image upright, by EXIF orientation."""
_stderr = threading.Lock()
_REDUCED = "agecli reduced"
_GREY_BACKGROUND = (127, 127, 127)


def read_image(source: Path | bytes | Image.Image, least_side: int = 1) -> Image.Image:
    """Decode an image completely, upright (EXIF applied), as 8-bit RGB.

    Accepts greyscale, palette, alpha (on grey), CMYK, 16-bit and float images; of an animation,
    returns the first frame; of a very large JPEG, fewer pixels (`DRAFT_PIXELS`). Broken metadata
    and a missing end marker of a JPEG are tolerated if all pixels are there. Raises
    ImageError with a short reason and its kind: not an image, cut short, too large; or too thin,
    before decoding, if the shorter side is below least_side: a line of pixels may
    take gigabytes.
    """
    if isinstance(source, Image.Image):
        return _decode(source, least_side)
    data = _read_bytes(source)
    try:
        return _decode(data, least_side)
    except ImageError as error:
        if error.fault in ("broken", "cut_short"):
            decode = partial(_decode, least_side=least_side)
            if image := png_pixels(data, decode) or whole_jpeg(data, decode):
                return image
        raise


def _decode(source: bytes | Image.Image, least_side: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's bomb warning: ours is another limit
            image = source if isinstance(source, Image.Image) else _open(source)
            if min(image.size) < least_side:
                raise ImageError(f"{image.width}x{image.height} pixels", "too_thin")
            if isinstance(source, Image.Image):
                _check_pixels(source, MAX_PIXELS)
                return _to_rgb(_upright(source.copy()))
            times = _draft(image, source)
            with _quiet() if image.format == "TIFF" else nullcontext():
                image.load()
            image = _to_rgb(_upright(image))
            image.info[_REDUCED] = times
            return image
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("not enough memory to decode it", "too_large") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"more than {MAX_PIXELS // 10**6} million pixels: save it smaller, or as JPEG",
            "too_large",
        ) from error
    except Image.UnidentifiedImageError as error:
        if isinstance(source, bytes) and kind_of("", source[:HEAD]) == "picture":
            raise ImageError("broken image (its beginning cannot be read)", "broken") from error
        raise ImageError("not an image", "not_an_image") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError...
        text = str(error)
        if "truncated" in text.lower() or isinstance(error, EOFError):
            raise ImageError("cut short", "cut_short") from error
        raise ImageError(f"broken image ({text or error!r})", "broken") from error


def reduction(image: Image.Image) -> int:
    """Return the factor by which `read_image` has reduced each side of an image."""
    return image.info.get(_REDUCED, 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence libtiff, which writes directly to the process's file descriptor 2."""
    with _stderr:
        try:
            shown = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        try:
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def is_animation(data: bytes) -> bool:
    """Return whether a file that `read_image` reads is an animation."""
    try:
        with Image.open(io.BytesIO(data), formats=("GIF", "PNG", "WEBP")) as image:
            return getattr(image, "is_animated", False)
    except Exception:  # of a foreign format, or with unreadable metadata
        return False


def _open(data: bytes) -> Image.Image:
    plugins: tuple[str, ...] = _PLUGINS
    if data[4:8] == b"ftyp" and data[8:12] != b"avif":
        from pi_heif import register_heif_opener

        register_heif_opener()
        plugins += ("HEIF",)
    try:
        return Image.open(io.BytesIO(data), formats=plugins)
    except Image.DecompressionBombError:  # PIL's own limit, which ignores the reduced scale
        if data[:2] != JPEG_START:
            raise
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))


def _draft(image: Image.Image, data: bytes) -> int:
    """Choose the factor by which to reduce a large JPEG or JPEG 2000; 1 for other images.

    Raises ImageError for an image that is too large.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        _check_pixels(image, MAX_PIXELS, ", or as JPEG")
        if isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
            return _reduce(image)
        return 1
    _check_pixels(image, MAX_JPEG_PIXELS)
    pixels = image.width * image.height
    if "progressive" in image.info and (scans := data.count(SCAN)) * pixels > MAX_SCANNED:
        raise ImageError(f"{scans} scans of {image.width}x{image.height} pixels", "too_large")
    times = next(n for n in (1, 2, 4) if pixels <= n * n * DRAFT_PIXELS)
    if times > 1:
        image.draft("", (image.width // times, image.height // times))
    return times


def _reduce(image: Jpeg2KImagePlugin.Jpeg2KImageFile) -> int:
    if image.width * image.height <= REDUCED_PIXELS:
        return 1
    image.reduce = 1  # halvings
    return 2


def _check_pixels(image: Image.Image, most: int, otherwise: str = "") -> None:
    if image.width * image.height > most:
        raise ImageError(
            f"{image.width}x{image.height} pixels, more than {most // 10**6} million: save it "
            f"smaller{otherwise}",
            "too_large",
        )


def _read_bytes(source: Path | bytes) -> bytes:
    try:
        data = source if isinstance(source, bytes) else _read_file(source)
    except OSError as error:
        raise ImageError(reason_of(error)) from error
    if not data:
        raise ImageError("empty file", "empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB", "too_large")
    return data


def reason_of(error: OSError) -> str:
    """Return, in the system's words, why a file or folder cannot be read."""
    return (error.strerror or str(error)).lower()


def _read_file(path: Path) -> bytes:
    """Read a file, at most up to the limit on its size; a pipe or device has no size to check."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        small = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES
        return file.read() if small else file.read(MAX_BYTES + 1)


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image upright by its EXIF orientation, if that is readable."""
    try:
        method = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # the EXIF may contain anything
        return image
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_eight_bits(np.asarray(image, dtype=np.float64))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*_GREY_BACKGROUND, 255))
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scale 16-bit values, or floats in 0-1 or 0-255, to bytes."""
    pixels = np.nan_to_num(pixels)
    peak = pixels.max(initial=0)
    scale = 255 if peak <= 1 else 1 if peak <= 255 else 255 / 65535
    return np.clip(pixels * scale + 0.5, 0, 255).astype(np.uint8)


def square(
    image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Return the result of `fit` as uint8 (size, size, 3)."""
    return np.asarray(fit(image, size, box))


def fit(
    image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """Resize the largest centred square (or the given box) to size × size, with antialiasing.

    box: left, top, right, bottom in pixels, inside the image.
    """
    if box is None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    if box == (0, 0, size, size) and image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
