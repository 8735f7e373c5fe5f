"""Mutated archives given to `prepare`: a data set or a line, and no file outside of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.mutate import MAGIC, mutate_bytes
from tests.fuzz.toys import Toys
from tests.fuzz.watch import run

BATCH = 1
PACK = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
HOSTILE = (
    "../outside.jpg", "/tmp/agecli-fuzz-outside.jpg", "a/../../outside.jpg", "..\\outside.jpg",
    "a/" * 200 + "a.jpg", "x" * 300 + ".jpg", "\n.jpg", "ü.jpg", "C:\\a.jpg", "", ".", "a.jpg/",
)  # fmt: skip
KINDS = (
    tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
)  # fmt: skip
HEADERS = {
    "GNU.sparse.size": "1e99", "GNU.sparse.map": "0,1,", "GNU.sparse.major": "1", "size": "-1",
    "GNU.sparse.realsize": "9" * 30, "path": "../outside.jpg", "mtime": "nan", "uid": "x",
    "hdrcharset": "BINARY", "linkpath": "/etc/passwd", "GNU.sparse.name": "x" * 10_000,
}  # fmt: skip


def archive(seed: int, toys: Toys) -> tuple[str, bytes]:
    """Return an archive's file name and content."""
    rng = Random(f"archives {seed}")
    faces = sorted(toys.faces.iterdir())[:6]
    if rng.random() < 0.3:
        return "a.zip", _zip(rng, faces)
    data = _tar(rng, faces)
    if rng.random() < 0.6:
        data = _bad_header(rng, data) if rng.random() < 0.5 else mutate_bytes(rng, data)
    suffix = rng.choice(list(PACK))
    data = PACK[suffix](data)
    return f"a{suffix}", mutate_bytes(rng, data) if rng.random() < 0.3 else data


def _tar(rng: Random, faces: list[Path]) -> bytes:
    buffer = io.BytesIO()
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for path in faces:
            info = tar.gettarinfo(path, arcname=f"faces/{path.name}")
            if rng.random() < 0.2 and form != tarfile.USTAR_FORMAT:
                info.name = rng.choice(HOSTILE)
            if rng.random() < 0.1:
                info.type = rng.choice(KINDS)
                info.linkname = rng.choice(("../../etc/passwd", faces[0].name, info.name))
            if form == tarfile.PAX_FORMAT and rng.random() < 0.3:
                key = rng.choice(list(HEADERS))
                info.pax_headers = {key: HEADERS[key]}
            data = path.read_bytes()
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _bad_header(rng: Random, data: bytes) -> bytes:
    """Write an odd number or type into a header, with a checksum that is right again."""
    changed = bytearray(data)
    starts = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    at = rng.choice(starts)
    field, width = rng.choice(((100, 8), (108, 8), (124, 12), (136, 12)))
    number = rng.choice((*MAGIC, 2**33, 2**62))
    if rng.random() < 0.5:
        changed[at + field : at + field + width] = f"{number:o}".encode()[:width].rjust(width, b"0")
    else:  # GNU's base-256
        changed[at + field] = rng.choice((0x80, 0xFF))
        number %= 1 << 8 * (width - 1)
        changed[at + field + 1 : at + field + width] = number.to_bytes(width - 1, "big")
    if rng.random() < 0.4:
        changed[at + 156] = rng.choice(b"0123456gxLKSDMNV\0\xff")
    changed[at + 148 : at + 156] = b" " * 8
    checksum = sum(changed[at : at + 512])
    changed[at + 148 : at + 156] = f"{checksum:06o}\0 ".encode()
    return bytes(changed)


def _zip(rng: Random, faces: list[Path]) -> bytes:
    buffer = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(buffer, "w", method) as file:
        for path in faces:
            name = rng.choice(HOSTILE) if rng.random() < 0.1 else f"faces/{path.name}"
            file.writestr(name or "x", path.read_bytes())
    data = buffer.getvalue()
    if rng.random() < 0.3:  # in the directory at its end
        tail = rng.randrange(20, min(len(data), 600))
        return data[:-tail] + mutate_bytes(rng, data[-tail:])
    return mutate_bytes(rng, data)


def check(seeds: range, toys: Toys, folder: Path) -> Iterator[tuple[int | None, str]]:
    """Break an archive per seed; yield what was wrong."""
    from agecli.data.store import open_dataset

    outside = Path("/tmp/agecli-fuzz-outside.jpg")
    for seed in seeds:
        name, data = archive(seed, toys)
        inside = folder / "inside"
        inside.mkdir()
        (inside / name).write_bytes(data)
        outcome = run("prepare", name, "data", "--size", 32, "--workers", 1, cwd=inside)
        for complaint in outcome.complaints((0, 1, 2)):
            yield seed, complaint
        left = {path.name for path in inside.iterdir()} - {name}
        if outcome.code == 0:
            open_dataset(inside / "data")
            left -= {"data"}
        if left:
            yield seed, f"left {', '.join(sorted(left))} (exit code {outcome.code})"
        if outside.exists() or {path.name for path in folder.iterdir()} != {"inside"}:
            yield seed, "wrote outside of its folder"
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
