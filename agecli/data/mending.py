"""Decode images whose pixels are complete, though something else in the file is broken."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from contextlib import suppress

from PIL import Image, ImageChops

from agecli.errors import ImageError

Decode = Callable[[bytes], Image.Image]

PNG_START, JPEG_START, JPEG_END = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd9"
PROGRESSIVE, SCAN = b"\xff\xc2", b"\xff\xda"
_SOME_BITS = b"\xaa" * 4096
"""More bytes than a block of pixels needs: an incomplete block is not output."""
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
"""Chunks with pixels and orientation; texts, profiles and the like are left out."""


def png_pixels(data: bytes, decode: Decode) -> Image.Image | None:
    """Decode a PNG without its metadata; return None if it has none, or if that does not help."""
    if not data.startswith(PNG_START):
        return None
    parts, place = [PNG_START], len(PNG_START)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length  # with its checksum
        if kind in _PNG_CHUNKS:
            parts.append(data[place:end])
        place = end
    pixels = b"".join(parts)
    if len(pixels) == len(data):
        return None
    with suppress(ImageError):
        return decode(pixels)
    return None


def whole_jpeg(data: bytes, decode: Decode) -> Image.Image | None:
    """Decode a JPEG that lacks only its end marker; return None if pixels are missing, too.

    No pixels are missing if the image is the same whatever follows. A decoder fills missing bits
    with zeros: ones are tried here, also after a possible restart marker.
    """
    if not data.startswith(JPEG_START) or data.endswith(JPEG_END) or not _has_all_scans(data):
        return None
    data = data.rstrip(b"\xff")
    last = max(range(7, -1, -1), key=lambda number: data.rfind(bytes([0xFF, 0xD0 + number])))
    more = _SOME_BITS + bytes([0xFF, 0xD0 + (last + 1) % 8]) + _SOME_BITS
    with suppress(ImageError):
        image, other = decode(data + JPEG_END), decode(data + more + JPEG_END)
        if ImageChops.difference(image, other).getbbox() is None:
            return image
    return None


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a progressive JPEG include the last bit of each coefficient."""
    frame = data.rfind(PROGRESSIVE)  # only scans follow it, none of a thumbnail's
    if frame < 0:
        return True
    known: set[tuple[int, int]] = set()  # components, and the numbers of their coefficients
    with suppress(IndexError):
        for match in re.finditer(SCAN, data[frame:]):
            place = frame + match.end() + 2  # after its header's length
            count = data[place]
            components = data[place + 1 : place + 1 + 2 * count : 2]
            first, last, bits = (data[place + 1 + 2 * count + number] for number in range(3))
            if not bits & 15:
                known |= {
                    (name, number) for name in components for number in range(first, last + 1)
                }
        return len(known) == 64 * data[frame + 9]
    return False
