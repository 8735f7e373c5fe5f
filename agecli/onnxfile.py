"""Read what an ONNX file says of itself, without its network and without onnx."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

METADATA_PROPS = 14
"""The field of ONNX's ModelProto (onnx.proto) that holds pairs of key (1) and value (2)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of field in protobuf's wire format."""

MOST_FIELDS = 100_000
"""Of a file, beside its network: an export of ours has a dozen."""
MOST_BYTES = 1 << 24
"""Of a key and its value."""


def read_property(path: Path, key: str) -> str | None:
    """Return the value of a key of an ONNX file's metadata, or None where there is no such key.

    Passes over the network, so that a file of any size takes no time. Raises ValueError for a file
    that is cut short, or no protobuf at all.
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
                raise ValueError("too long a property")
            pair = _read_pair(file, file.tell() + length)
            if pair.get(1) == key.encode():
                found = pair.get(2, b"").decode()
    raise ValueError("no ONNX file")


def _read_pair(file: BinaryIO, end: int) -> dict[int, bytes]:
    pair = {}
    while (place := file.tell()) < end:
        field, length = _next_field(file)
        if field in pair or place + length > end:
            raise ValueError("no pair")
        pair[field] = file.read(length)
    return pair


def _next_field(file: BinaryIO) -> tuple[int, int]:
    """Read a field's tag; give its number and the bytes of what follows (0: it was read, too)."""
    tag = _varint(file)
    field, kind = tag >> 3, tag & 7
    if kind == VARINT:
        _varint(file)
        return field, 0
    lengths = {FIXED64: lambda: 8, FIXED32: lambda: 4, BYTES: lambda: _varint(file)}
    if kind not in lengths or not field:
        raise ValueError("no ONNX file")
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
    raise ValueError("no ONNX file")
