"""Read an ONNX file's metadata, without its network and without onnx."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

METADATA_PROPS = 14
"""The field of ONNX's ModelProto (onnx.proto) that holds pairs of key (1) and value (2)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Field types of protobuf's wire format."""

MOST_FIELDS = 100_000
"""Most fields of a file beside its network: an export of ours has a dozen."""
MOST_BYTES = 1 << 24
"""Most bytes of a key and its value."""


def read_property(path: Path, key: str) -> str | None:
    """Return the value of a key in an ONNX file's metadata, or None if there is no such key.

    Skips the network, so that a file of any size takes no time. Raises ValueError for a file
    that is cut short, or not protobuf at all.
    """
    size = path.stat().st_size
    found = None
    with path.open("rb") as file:
        for _ in range(MOST_FIELDS):
            if file.tell() >= size:
                return found
            field, length = _next_field(file)
            if file.tell() + length > size:
                raise ValueError("cut short")
            if field != METADATA_PROPS:
                file.seek(length, 1)
                continue
            if length > MOST_BYTES:
                raise ValueError("a property is too long")
            pair = _read_pair(file, file.tell() + length)
            if pair.get(1) == key.encode():
                found = pair.get(2, b"").decode()
    raise ValueError("not an ONNX file")


def _read_pair(file: BinaryIO, end: int) -> dict[int, bytes]:
    pair = {}
    while (place := file.tell()) < end:
        field, length = _next_field(file)
        if field in pair or place + length > end:
            raise ValueError("not a pair")
        pair[field] = file.read(length)
    return pair


def _next_field(file: BinaryIO) -> tuple[int, int]:
    """Read a field's tag; return its number and the bytes that follow (0: already read)."""
    tag = _varint(file)
    field, kind = tag >> 3, tag & 7
    if kind == VARINT:
        _varint(file)
        return field, 0
    lengths = {FIXED64: lambda: 8, FIXED32: lambda: 4, BYTES: lambda: _varint(file)}
    if kind not in lengths or not field:
        raise ValueError("not an ONNX file")
    return field, lengths[kind]()


def _varint(file: BinaryIO) -> int:
    """Read an integer of 7 bits per byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("not an ONNX file")
