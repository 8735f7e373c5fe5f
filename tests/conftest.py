"""Fixtures that several tests share: a small data set of drawn faces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Toy sizes: one thread each is the fastest, and leaves the machine to others. Set before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A background job may have to ignore Ctrl-C, and its children with it: ours are interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from tests.archives import SPREAD_AGES, write_archive, write_faces


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", choices=["cuda", "cpu"], default="cuda", help="where the tests in tests/gpu run"
    )


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of 200 drawn faces, 20 per age."""
    folder = tmp_path_factory.mktemp("source") / "Drawn"
    write_faces(folder, SPREAD_AGES * 20)
    return write_archive(folder, folder.parent / "Drawn.tar.gz")


@pytest.fixture(scope="session")
def dataset_folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared data set of the drawn faces, 32 px."""
    from agecli.config import PrepareConfig
    from agecli.data.prepare import prepare

    out = tmp_path_factory.mktemp("data") / "drawn"
    prepare([archive], out, PrepareConfig(size=32), workers=1)
    return out


@pytest.fixture(scope="session")
def toy_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an untrained cnn's ONNX file, beside its original weights (cnn.safetensors)."""
    from agecli.exporting.export import export
    from tests.exporting.models import write_model

    folder = tmp_path_factory.mktemp("onnx")
    source = write_model(folder / "cnn.safetensors", temperature=1.7)
    export(source, folder / "cnn.onnx")
    return folder / "cnn.onnx"


@pytest.fixture(scope="session")
def utkface() -> Path:
    """Return the real archive, or skip where AGECLI_UTKFACE does not name it."""
    path = os.environ.get("AGECLI_UTKFACE")
    if not path:
        pytest.skip("AGECLI_UTKFACE does not name the UTKFace archive")
    return Path(path)


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run agecli as a user does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **extra: str):
        return subprocess.run(
            [sys.executable, "-m", "agecli", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)} | extra,
            timeout=300,
        )

    return run


@pytest.fixture
def one_line() -> Callable[[subprocess.CompletedProcess[str], int], str]:
    """Check that a command failed with an exit code and one line on stderr, and give the line."""

    def check(result: subprocess.CompletedProcess[str], code: int = 1) -> str:
        assert result.returncode == code, result.stderr
        assert result.stdout == ""
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("agecli: ")
        return lines[0]

    return check
