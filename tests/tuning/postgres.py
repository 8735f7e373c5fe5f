"""A PostgreSQL server of one's own: in a temporary folder, on a free port, not as root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def find_program(name: str) -> str:
    """Find one of PostgreSQL's programs, on the path or where Debian keeps them; or skip."""
    found = shutil.which(name)
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found and not places:
        pytest.skip("PostgreSQL is not installed")
    return found or str(places[-1])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server and give the URL of an empty database."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    # It refuses to run as root, and its folder must be its user's: not below pytest's own.
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="agecli-pg-"))
    port = free_port()

    def run(*command: object) -> None:
        subprocess.run(
            list(map(str, command)), check=True, cwd=folder, capture_output=True, timeout=60, **user
        )

    try:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        run(initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(pg_ctl, "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield f"postgresql://me@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
