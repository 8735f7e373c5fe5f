"""The findings of `agecli doctor`: here, and with things broken on purpose."""

import json
import os
from pathlib import Path

import pytest
import torch

from agecli import health, weights
from agecli.health import Finding, doctor
from agecli.registry import MODELS

REFUSED = "http://127.0.0.1:9"


def findings(check) -> dict[str, Finding]:
    return {finding.what: finding for finding in health._guarded(check)}


def install(folder: Path, name: str, version: str, module: str | None = None) -> None:
    """Write a package's metadata into a folder, and optionally its module."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if module is not None:
        (folder / f"{name}.py").write_text(module)


def test_what_is_installed_here_is_found_with_its_version():
    found = findings(health._packages)
    assert found["packages"].state == "ok"
    assert f"torch {torch.__version__.split('+')[0]}" in found["packages"].found
    assert {"extra demo", "extra onnx", "extra video"} <= set(found)
    assert "extra dev" not in found


def test_a_package_of_another_version_is_broken(tmp_path: Path, monkeypatch):
    install(tmp_path, "filelock", "0.1")
    monkeypatch.syspath_prepend(tmp_path)
    found = findings(health._packages)["packages"]
    assert (found.state, found.found.split(", ")[-1]) == ("broken", "filelock 0.1")
    assert found.advice.startswith('pip install "filelock>=')


def test_an_extra_that_cannot_be_imported_is_broken_and_one_that_is_not_there_absent(
    tmp_path: Path, monkeypatch
):
    version = health.metadata.version

    def without_psycopg(name: str) -> str:
        if name == "psycopg":
            raise health.metadata.PackageNotFoundError(name)
        return version(name)

    install(tmp_path, "pymysql", "9.9", 'raise ImportError("no libmysql.so.1")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(health.metadata, "version", without_psycopg)
    found = findings(health._packages)
    assert found["extra mysql"].state == "broken"
    assert "pymysql 9.9 cannot be imported: no libmysql.so.1" in found["extra mysql"].found
    assert found["extra postgresql"].state == "absent"
    assert found["extra postgresql"].advice == 'pip install "agecli[postgresql]"'


def test_the_released_weights_are_found_and_predict():
    found = findings(health._weights)
    assert [one.state for one in found.values()] == ["ok"]
    assert all(f"{model}.safetensors" in found["weights"].found for model in MODELS)


def test_damaged_and_missing_weights_are_broken(tmp_path: Path, monkeypatch):
    whole = (weights.released_folder() / "cnn.safetensors").read_bytes()
    (tmp_path / "cnn.safetensors").write_bytes(whole[:1000])
    monkeypatch.setattr(weights, "released_folder", lambda: tmp_path)
    found = findings(health._weights)
    assert found["weights cnn"].state == found["weights dinov2"].state == "broken"
    assert "not a complete" in found["weights cnn"].found


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU here")
def test_a_gpu_that_torch_cannot_use_is_broken(tmp_path: Path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA Toy\n")
    program.chmod(0o755)
    assert findings(health._device)["cpu"].state == "ok"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = findings(health._device)["cuda"]
    assert found.state == "broken" and found.found.endswith("cannot use NVIDIA Toy")


def test_a_cache_that_cannot_be_written_is_broken(monkeypatch):
    monkeypatch.setattr(health.os, "access", lambda path, mode: False)
    found = findings(health._caches)
    assert [one.state for one in found.values()] == ["broken", "broken"]
    assert "HF_HOME" in found["backbones"].advice


def test_cached_backbones_are_named(tmp_path: Path, monkeypatch):
    from huggingface_hub import constants

    (tmp_path / "models--owner--tiny").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert findings(health._caches)["backbones"].found == f"owner/tiny, in {tmp_path}"


def test_what_fails_is_a_finding(monkeypatch):
    def _boom():
        raise OSError("it broke")
        yield

    monkeypatch.setattr(health, "CHECKS", (_boom, health._system))
    broken, fine = doctor()
    assert broken == Finding("boom", "broken", "OSError: it broke")
    assert fine.state == "ok"


def test_the_command_fails_where_something_is_broken(cli, tmp_path: Path):
    install(tmp_path, "filelock", "0.1")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    result = cli("doctor", "--json", PYTHONPATH=path, HF_ENDPOINT=REFUSED)
    assert (result.returncode, result.stderr) == (1, "")
    states = {one["what"]: one["state"] for one in json.loads(result.stdout)}
    assert states["packages"] == "broken"
    assert states["hub"] == "absent"
    assert states["weights"] == states["detector"] == states["cpu"] == "ok"
