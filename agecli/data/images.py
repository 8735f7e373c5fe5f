"""One way to decode a picture, whatever its mode, size or orientation."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from agecli.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".jfif"})
MAX_BYTES = 128 * 2**20
MAX_PIXELS = 64_000_000
"""Of a decoded picture."""
DRAFT_PIXELS = 32_000_000
"""JPEGs with more are decoded at a half or a quarter of their sides: a face that fills a
thousandth of such a picture has 90 px yet."""
MAX_JPEG_PIXELS = 256_000_000
"""Of a JPEG's file; a progressive one is held in memory whole, whatever it is decoded to."""

JPEG_START = b"\xff\xd8"
_REDUCED = "agecli reduced"
_GREY_BACKGROUND = (127, 127, 127)


def read_image(source: Path | bytes | Image.Image, least_side: int = 1) -> Image.Image:
    """Decode a picture completely, upright (EXIF applied), as 8-bit RGB.

    Takes greyscale, palette, alpha (on grey), CMYK, 16-bit and float pictures; of an animation,
    the first frame; of a very large JPEG, fewer pixels (`DRAFT_PIXELS`). Raises ImageError with a
    short reason and its fault: not an image, cut short, too large; or too thin, before anything is
    decoded, where the shorter side is below the least: a line of pixels may take gigabytes.
    """
    if not isinstance(source, Image.Image):
        source = _read_bytes(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's bomb warning: we have our own limit
            image = source if isinstance(source, Image.Image) else _open(source)
            if min(image.size) < least_side:
                raise ImageError(f"{image.width}x{image.height} pixels", "too_thin")
            if isinstance(source, Image.Image):
                _check_pixels(source, MAX_PIXELS)
                return _to_rgb(ImageOps.exif_transpose(source))
            times = _draft(image)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # spares a copy of our own image
            image = _to_rgb(image)
            image.info[_REDUCED] = times
            return image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"more than {MAX_PIXELS // 10**6} million pixels: save it smaller, or as JPEG",
            "too_large",
        ) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError("not an image", "not_an_image") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError...
        text = str(error)
        if "truncated" in text.lower() or isinstance(error, EOFError):
            raise ImageError("cut short", "cut_short") from error
        raise ImageError(f"broken image ({text or error!r})", "broken") from error


def reduction(image: Image.Image) -> int:
    """Return how many pixels of its file a pixel of `read_image`'s picture stands for, each way."""
    return image.info.get(_REDUCED, 1)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:  # PIL's own limit, which knows of no draft
        if data[:2] != JPEG_START:
            raise
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))


def _draft(image: Image.Image) -> int:
    """Choose how many pixels of a large JPEG become one, each way; 1 for all other pictures.

    Raises ImageError for a picture that is too large.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        _check_pixels(image, MAX_PIXELS, ", or as JPEG")
        return 1
    _check_pixels(image, MAX_JPEG_PIXELS)
    pixels = image.width * image.height
    times = next(n for n in (1, 2, 4) if pixels <= n * n * DRAFT_PIXELS)
    if times > 1:
        image.draft("", (image.width // times, image.height // times))
    return times


def _check_pixels(image: Image.Image, most: int, otherwise: str = "") -> None:
    if image.width * image.height > most:
        raise ImageError(
            f"{image.width}x{image.height} pixels, more than {most // 10**6} million: save it "
            f"smaller{otherwise}",
            "too_large",
        )


def _read_bytes(source: Path | bytes) -> bytes:
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"larger than {MAX_BYTES >> 20} MiB", "too_large")
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ImageError((error.strerror or str(error)).lower()) from error
    if not data:
        raise ImageError("empty file", "empty")
    return data


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
    """Return what `fit` gives as uint8 (size, size, 3)."""
    return np.asarray(fit(image, size, box))


def fit(
    image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """Resize the largest centred square (or the given box) to size × size, with antialiasing.

    box: left, top, right, bottom in pixels, inside the picture.
    """
    if box is None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    if box == (0, 0, size, size) and image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
