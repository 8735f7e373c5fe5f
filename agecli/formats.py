"""Recognise files by their content, whatever their names say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ONNX, SAFETENSORS = "an ONNX file", "a safetensors file"

_LONGEST_HEADER = 100_000_000
"""Most bytes of a safetensors file's header, as in its library."""
_ONNX = re.compile(rb"\x08[\x01-\x63][\x12\x1a\x22\x32:B]", re.DOTALL)
"""First bytes of ONNX: the format version, then the tag of the producer, graph or another field."""
_HEAD, _TAIL = 4096, 1 << 16
"""Bytes of a file that are examined."""


@dataclass(frozen=True)
class Format:
    """What a file is, and what to do with it if something else is expected."""

    what: str
    """The kind in words, with its article."""
    hint: str = "use a file of `agecli train`"


LFS = Format("a git-lfs pointer", "run `git lfs pull` in its clone")
PAGE = Format("a web page, as after a failed download", "download the file itself again")
PACKED = Format("a packed archive", "unpack it, and use its contents")
KERAS = Format("a Keras model")
PICKLE = Format(
    "a PyTorch checkpoint", "use a run's folder, or start `train resnet` from it (--init)"
)
SCRIPT = Format("a TorchScript program")
PROGRAM = Format(
    "a program for torch.export.load", "use the weights it was made from, or their ONNX export"
)
PICTURE = Format("an image")

_BEGINNINGS = (
    (b"version https://git-lfs", LFS),
    (b"\x89HDF\r\n\x1a\n", Format("a Keras or another HDF5 file")),
    (b"\x93NUMPY", Format("a NumPy array")),
    (b"GGUF", Format("a GGUF file")),
    (b"\xff\xd8\xff", PICTURE),
    (b"\x89PNG", PICTURE),
    (b"GIF8", PICTURE),
    (b"%PDF", Format("a PDF file")),
    (b"SQLite format 3\0", Format("a database")),
    (b"\x1f\x8b", PACKED),
    (b"BZh", PACKED),
    (b"\xfd7zXZ\0", PACKED),
    (b"\x28\xb5\x2f\xfd", PACKED),
    (b"7z\xbc\xaf\x27\x1c", PACKED),
    (b"Rar!", PACKED),
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
)
_IN_ZIPS = (
    (b"model.weights.h5", KERAS),
    (b"archive_format", PROGRAM),
    (b"models/model.json", PROGRAM),
    (b"serialized_exported_program", PROGRAM),
    (b"constants.pkl", SCRIPT),
    (b"data.pkl", PICKLE),
)


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its first bytes, or None if unknown or unreadable."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
    except OSError:
        return None
    if not head:
        return Format("an empty file", "copy or make it again")
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return Format(SAFETENSORS)
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    if head.startswith(b"PK\3\4"):
        names = head + tail  # a zip's names are at its end
        return next((found for name, found in _IN_ZIPS if name in names), PACKED)
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return PAGE
    return Format(ONNX) if _ONNX.match(head) else None
