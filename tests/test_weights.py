"""Weights files: what is written comes back; everything else is refused in one line."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from agecli.errors import UsageError, WeightsError
from agecli.models.cnn import CNN
from agecli.weights import (
    KEY,
    Metadata,
    find_weights,
    load_weights,
    read_metadata,
    save_weights,
)

METADATA = Metadata(
    model="cnn",
    architecture={"outputs": 8, "image_size": 16, "dropout": 0.0},
    objective="groups",
    scheme=["0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+"],
    image_size=16,
    mean=[0.5, 0.5, 0.5],
    std=[0.5, 0.5, 0.5],
    crop={"detector": "yunet", "margin": 0.06},
    metrics={"n": 3, "exact": 2 / 3},
)


@pytest.fixture
def model() -> CNN:
    torch.manual_seed(0)
    model = CNN(**METADATA.architecture)
    model(torch.randn(4, 3, 16, 16))  # moves the running statistics
    return model.eval()


@pytest.fixture
def path(model: CNN, tmp_path: Path) -> Path:
    path = tmp_path / "cnn.safetensors"
    save_weights(path, model.state_dict(), METADATA)
    return path


def test_a_file_rebuilds_its_model_with_nothing_else(model: CNN, path: Path):
    loaded, metadata = load_weights(path)
    assert metadata == METADATA
    assert not loaded.training
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(x), model(x), rtol=5e-3, atol=5e-3)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_matrices_are_stored_as_halves_and_vectors_whole(model: CNN, path: Path):
    from safetensors.torch import load_file

    for name, tensor in load_file(path).items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
    loaded, _ = load_weights(path)
    assert torch.equal(loaded.blocks[0].norm.running_var, model.blocks[0].norm.running_var)


def test_loading_leaves_the_random_numbers_alone(path: Path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_weights(path)
    assert torch.equal(torch.rand(1), expected)


def test_other_users_may_read_the_file(path: Path):
    import os

    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, {"w": torch.zeros(1)}, METADATA)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["cnn.safetensors"]


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    assert "No weights file" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_file_cut_short_is_refused(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a whole safetensors file" in refused(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "notes.safetensors"
    path.write_text("not weights at all, but long enough to look at")
    assert "not a whole safetensors file" in refused(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    assert "not written by agecli" in refused(path)


def write_header(path: Path, **changes: object) -> Path:
    content = json.loads(json.dumps(vars(METADATA))) | changes
    save_file({"w": torch.zeros(2)}, path, {KEY: json.dumps(content)})
    return path


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path):
    path = write_header(tmp_path / "new.safetensors", format=2)
    assert "upgrade agecli" in refused(path)


def test_an_unknown_model_asks_for_an_upgrade(tmp_path: Path):
    assert "'vit'" in refused(write_header(tmp_path / "vit.safetensors", model="vit"))


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path):
    assert "does not fit" in refused(write_header(tmp_path / "cnn.safetensors"))


def test_damaged_metadata_is_refused(tmp_path: Path):
    path = tmp_path / "damaged.safetensors"
    save_file({"w": torch.zeros(2)}, path, {KEY: '{"format": 1, "model": "cnn"}'})
    assert "damaged metadata" in refused(path)


def test_metadata_of_a_later_minor_version_is_read(tmp_path: Path):
    path = write_header(tmp_path / "cnn.safetensors", colour="blue")
    assert read_metadata(path) == METADATA


def test_files_are_found_by_model_folder_and_run(path: Path, tmp_path: Path):
    assert find_weights("cnn", path.parent) == [path]
    assert find_weights("all", path.parent) == [path]
    assert find_weights("all", path) == [path]
    run = tmp_path / "run"
    run.mkdir()
    save_weights(run / "best.safetensors", {}, METADATA)
    assert find_weights("cnn", run) == [run / "best.safetensors"]
    with pytest.raises(WeightsError, match=r"as .*run"):
        empty = tmp_path / "runs"
        empty.mkdir()
        run.rename(empty / "run")
        find_weights("all", empty)


def test_an_unknown_model_name_is_wrong_usage(path: Path):
    with pytest.raises(UsageError, match="--model"):
        find_weights("vgg", path.parent)


def test_reading_metadata_needs_no_torch(path: Path):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from agecli.weights import read_metadata; "
        f"read_metadata(Path({str(path)!r})); sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_saving_the_same_state_twice_gives_the_same_bytes(model: CNN, path: Path):
    twin = path.with_name("twin.safetensors")
    save_weights(twin, model.state_dict(), METADATA)
    assert twin.read_bytes() == path.read_bytes()
    save_weights(twin, model.state_dict(), replace(METADATA, temperature=2.0))
    assert twin.read_bytes() != path.read_bytes()
