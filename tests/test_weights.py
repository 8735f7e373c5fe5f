"""Weights files: what is written comes back; everything else is refused in one line."""

import json
import re
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from agecli.errors import DiskError, UsageError, WeightsError
from agecli.models.cnn import CNN
from agecli.weights import (
    FINGERPRINTS,
    KEY,
    Metadata,
    find_weights,
    is_ours,
    load_weights,
    named_weights,
    read_fingerprints,
    read_metadata,
    released_folder,
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
    metrics={
        "n": 3,
        "exact": 2 / 3,
        "exact_interval": [0.2, 0.9],
        "one_off": 1.0,
        "macro_f1": 0.5,
        "majority": 1 / 3,
        "majority_group": "0-2",
    },
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
    with pytest.raises(DiskError, match=r"No room for .* \(No space left on device\)"):
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


@pytest.mark.parametrize("keep", [5, 100, -1])
def test_a_file_cut_short_is_refused(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a complete safetensors file" in refused(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "notes.safetensors"
    path.write_text("not weights at all, but long enough to look at")
    assert "not a complete safetensors file" in refused(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    assert "not written by agecli" in refused(path)


def write_header(path: Path, **changes: object) -> Path:
    content = json.loads(json.dumps(asdict(METADATA))) | changes
    save_file({"w": torch.zeros(2)}, path, {KEY: json.dumps(content)})
    return path


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path):
    path = write_header(tmp_path / "new.safetensors", format=2)
    assert "upgrade agecli" in refused(path)


def test_an_unknown_model_asks_for_an_upgrade(tmp_path: Path):
    assert "'vit'" in refused(write_header(tmp_path / "vit.safetensors", model="vit"))


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path):
    path = write_header(tmp_path / "cnn.safetensors")
    assert "does not fit" in refused(path)
    assert 100 < len(refused(path)) - len(str(path)) < 260  # torch has a line per tensor


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


def write(path: Path, model: str = "cnn") -> Path:
    """Write a file of no tensors, as far as the folder goes."""
    sides = {"image_size": 32, "architecture": {"outputs": 8}} if model == "resnet" else {}
    save_weights(path, {}, replace(METADATA, model=model, **sides))
    return path


def test_a_folders_files_come_in_the_registrys_order_and_others_after_them(tmp_path: Path):
    names = ["a", "dinov2", "cnn", "z", "resnet", "capsnet"]
    for name in names:
        write(tmp_path / f"{name}.safetensors")
    (tmp_path / "cnn.txt").write_text("no weights")
    found = [path.stem for path in find_weights("all", tmp_path)]
    assert found == ["cnn", "capsnet", "resnet", "dinov2", "a", "z"]


def test_a_model_is_found_by_its_files_name_or_by_what_it_holds(tmp_path: Path):
    (tmp_path / "cnn.safetensors").write_text("damaged, and named as it is wanted")
    with pytest.raises(WeightsError, match="not a complete"):
        find_weights("resnet", tmp_path)  # it may hold one
    assert find_weights("cnn", tmp_path) == [tmp_path / "cnn.safetensors"]
    (tmp_path / "cnn.safetensors").unlink()
    other = write(tmp_path / "mine.safetensors", "resnet")
    write(tmp_path / "yours.safetensors", "cnn")
    assert find_weights("resnet", tmp_path) == [other]
    assert find_weights("resnet", other) == [other]


@pytest.mark.parametrize(
    ("model", "message"),
    [("all", "No weights file in .*: train one with `agecli train cnn`"),
     ("resnet", "No resnet weights file in .*: train one with `agecli train resnet`")],
)  # fmt: skip
def test_a_folder_without_weights_says_what_to_do(tmp_path: Path, model: str, message: str):
    with pytest.raises(WeightsError, match=message):
        find_weights(model, tmp_path)
    with pytest.raises(WeightsError, match=r"No weights at .*none: pass"):
        find_weights(model, tmp_path / "none")


def test_the_released_weights_are_found_by_their_names():
    folder = Path(__file__).parents[1] / "weights"
    assert released_folder() == folder
    files = [folder / f"{name}.safetensors" for name in ("cnn", "capsnet", "resnet", "dinov2")]
    assert find_weights() == [path for path in files if path.exists()]
    assert find_weights("capsnet") == [folder / "capsnet.safetensors"]


def test_names_files_and_folders_stand_for_weights(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    released = released_folder() / "resnet.safetensors"
    assert named_weights("resnet", path, str(tmp_path)) == [released, path, path]
    assert named_weights() == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet").mkdir()
    own = write(tmp_path / "resnet" / "best.safetensors")
    assert named_weights("resnet") == [own.relative_to(tmp_path)]  # what lies here is meant
    with pytest.raises(WeightsError, match="No weights at vgg"):
        named_weights("vgg")


def test_a_file_is_ours_or_not(path: Path, tmp_path: Path, toy_onnx: Path):
    assert is_ours(path) and is_ours(toy_onnx)
    assert is_ours(write_header(tmp_path / "newer.safetensors", format=9))
    (tmp_path / "text.safetensors").write_text("not weights")
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    path.rename(tmp_path / "renamed.bin")
    for name in ("text.safetensors", "foreign.safetensors", "renamed.bin", "none.safetensors", ""):
        assert is_ours(tmp_path / name) is False
    (tmp_path / "folder.safetensors").mkdir()
    assert is_ours(tmp_path / "folder.safetensors") is False


def test_an_export_says_what_its_weights_say_and_is_not_weights(toy_onnx: Path):
    weights = read_metadata(toy_onnx.with_name("cnn.safetensors"))
    assert read_metadata(toy_onnx).temperature == weights.temperature == 1.7
    assert "use the weights it was made from" in refused(toy_onnx)
    broken = toy_onnx.with_name("broken.onnx")
    broken.write_bytes(b"no protocol buffer at all")
    assert "not a complete ONNX file" in refused(broken)
    broken.unlink()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({}, "CNN, four conv blocks"), ({"title": "cnn"}, "CNN, four conv blocks"),
     ({"title": "DINOv2, at random"}, "DINOv2, at random"),
     ({"model": "resnet", "architecture": {"arch": "resnet18"}}, "resnet18"),
     ({"model": "resnet", "architecture": {}}, "ResNet")],
)  # fmt: skip
def test_a_model_is_described_in_a_few_words(changes: dict, words: str):
    assert replace(METADATA, **changes).described == words


def test_a_file_is_written_into_folders_that_are_made_for_it(tmp_path: Path):
    path = write(tmp_path / "new" / "folder" / "cnn.safetensors")
    assert read_metadata(path) == METADATA
    assert find_weights(where=write(path)) == [path]  # over the one that was there


def test_all_is_kept_whole_where_halves_are_not_wanted(model: CNN, path: Path):
    save_weights(path, model.state_dict(), METADATA, half=False)
    loaded, _ = load_weights(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


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


@pytest.mark.parametrize(
    "change",
    [lambda state: state.pop("head.2.bias"),
     lambda state: state.update(extra=torch.zeros(1)),
     lambda state: state.update({"head.2.bias": torch.zeros(3)}),
     lambda state: state.update({"head.2.bias": state["head.2.bias"].to(torch.int64)}),
     lambda state: state.update({"blocks.0.norm.running_var": torch.ones(32, dtype=torch.int32)})],
)  # fmt: skip
def test_tensors_are_the_models_before_any_is_read(model: CNN, path: Path, change):
    state = model.state_dict()
    change(state)
    save_weights(path, state, METADATA)
    assert "does not fit its model cnn" in refused(path)


def test_a_file_that_does_not_fit_is_refused_by_its_header(path: Path, monkeypatch):
    """A file of gigabytes is not read to find that it is another model's."""
    monkeypatch.setattr("safetensors.torch.load_file", lambda path: pytest.fail("read"))
    write_header(path)
    assert "does not fit its model" in refused(path)


def test_a_model_of_countless_parameters_is_not_made(path: Path, monkeypatch):
    monkeypatch.setattr("agecli.weights.MOST_PARAMETERS", 1000)
    assert re.search(r"does not fit its model cnn \([0-9]{3},[0-9]{3} parameters\)", refused(path))


def test_what_macos_leaves_beside_files_is_not_weights(path: Path):
    (path.parent / "._cnn.safetensors").write_bytes(b"\0\5\x16\7")
    (path.parent / "folder.safetensors").mkdir()
    assert find_weights("all", path.parent) == [path]


def fingerprinted(path: Path, model: CNN, prints: torch.Tensor | None, version: int = 1) -> Path:
    more = {} if prints is None else {FINGERPRINTS: prints}
    save_weights(path, model.state_dict() | more, replace(METADATA, fingerprints=version))
    return path


def test_fingerprints_come_back_and_are_not_part_of_the_model(model: CNN, path: Path):
    assert read_fingerprints(path) is None
    prints = torch.arange(90, dtype=torch.uint8).reshape(3, 30)
    fingerprinted(path, model, prints)
    assert read_fingerprints(path).tolist() == prints.tolist()
    loaded, metadata = load_weights(path)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert metadata == replace(METADATA, fingerprints=1)


def test_later_fingerprints_are_unknown_and_the_model_is_not(model: CNN, path: Path):
    fingerprinted(path, model, torch.zeros(3, 64), version=2)
    assert read_fingerprints(path) is None
    load_weights(path)


@pytest.mark.parametrize(
    "prints",
    [
        None,
        torch.zeros(0, 30, dtype=torch.uint8),
        torch.zeros(30, dtype=torch.uint8),
        torch.zeros(3, 31, dtype=torch.uint8),
        torch.zeros(3, 30, 1, dtype=torch.uint8),
        torch.zeros(3, 30, dtype=torch.int8),
        torch.zeros(3, 30),
    ],
    ids=["none", "empty", "one row", "wide", "deep", "signed", "floats"],
)
def test_fingerprints_that_cannot_be_are_refused(
    model: CNN, path: Path, prints: torch.Tensor | None
):
    fingerprinted(path, model, prints)
    with pytest.raises(WeightsError, match=r"cnn.safetensors has damaged fingerprints .*: copy"):
        read_fingerprints(path)


def test_a_version_that_is_none_is_refused(model: CNN, path: Path):
    fingerprinted(path, model, None, version=-1)
    assert "damaged metadata" in refused(path)
