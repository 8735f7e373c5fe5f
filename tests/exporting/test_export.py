"""Exports of every model, run by their own runtimes, against plain torch."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agecli.ages import Scheme
from agecli.config import ExportConfig
from agecli.data.seen import BYTES
from agecli.decision import MEDIAN
from agecli.errors import AgecliError, DiskError, UsageError, WeightsError
from agecli.exporting import export as module
from agecli.exporting.export import export
from agecli.inference.predictor import Predictor
from agecli.weights import find_weights, load_weights, read_fingerprints, read_metadata
from tests.exporting.models import SIDE, SIZES, add_fingerprints, write_model

TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("cnn") / "cnn.safetensors", temperature=TEMPERATURE)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def truth(path: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Group probabilities and ages, from the model as it was trained, in double precision."""
    model, meta = load_weights(path)
    x = torch.from_numpy(pixels).double().permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(meta.mean).view(3, 1, 1)) / torch.tensor(meta.std).view(3, 1, 1)
    with torch.no_grad():
        chances = (model.double()(x) / meta.temperature).softmax(1).numpy()
    if chances.shape[1] == len(meta.scheme):
        return chances, None
    bounds = Scheme.parse(meta.scheme).bounds
    groups = np.stack([chances[:, low : high + 1].sum(1) for low, high in bounds], axis=1)
    edges = np.arange(-1, 101) + 0.5  # of the years
    ages = [np.interp(0.5, np.append(0, row.cumsum()), edges) for row in chances]
    return groups / groups.sum(1, keepdims=True), np.array(ages)


@pytest.mark.parametrize("name", SIZES)
def test_onnx_predicts_like_the_model_for_batches_of_any_size(name: str, tmp_path: Path):
    import onnxruntime

    source = write_model(
        tmp_path / f"{name}.safetensors", name, temperature=TEMPERATURE, decision=MEDIAN
    )
    out = tmp_path / f"{name}.onnx"
    parity = export(source, out).parity
    assert parity.difference < 1e-4 and parity.same == 1
    session = onnxruntime.InferenceSession(out)
    for count in (1, 5):
        groups, ages = truth(source, images(count))
        answers = session.run(None, {"images": images(count)})
        np.testing.assert_allclose(answers[0], groups, atol=1e-4)
        if ages is not None:
            np.testing.assert_allclose(answers[1], ages, atol=1e-2)
    assert [output.name for output in session.get_outputs()] == (
        ["probabilities"] if name == "capsnet" else ["probabilities", "age", "years"]
    )
    assert read_metadata(out) == read_metadata(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, source.name]


def test_pt2_predicts_like_the_model(cnn: Path, tmp_path: Path):
    out = tmp_path / "cnn.pt2"
    export(cnn, out)
    extra = {"agecli": ""}
    program = torch.export.load(out, extra_files=extra).module()
    groups, ages = truth(cnn, images(3))
    answers = program(torch.from_numpy(images(3)))
    np.testing.assert_allclose(answers[0], groups, atol=1e-4)
    np.testing.assert_allclose(answers[1], ages, atol=1e-2)
    assert json.loads(extra["agecli"])["temperature"] == TEMPERATURE


def test_precisions_of_a_safetensors_file(cnn: Path, tmp_path: Path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert export(cnn, whole, precision="fp32").parity.difference == 0
    export(whole, half, card=True)
    assert half.read_bytes() == cnn.read_bytes()
    assert whole.stat().st_size > 1.9 * half.stat().st_size
    assert "16-bit" in (tmp_path / "half.md").read_text()


def test_other_precisions_know_what_was_seen_and_other_forms_do_not(tmp_path: Path):
    prints = np.arange(2 * BYTES, dtype=np.uint8).reshape(2, BYTES)
    source = add_fingerprints(write_model(tmp_path / "cnn.safetensors"), prints)
    for name in ("whole.safetensors", "cnn.onnx"):
        export(source, tmp_path / name, precision="fp32")
    assert read_fingerprints(tmp_path / "whole.safetensors").tolist() == prints.tolist()
    assert read_metadata(tmp_path / "cnn.onnx").fingerprints == 0
    assert read_fingerprints(tmp_path / "cnn.onnx") is None
    (answer,) = Predictor([tmp_path / "cnn.onnx"], crops=True).predict(images(1))
    assert answer.seen is None


def test_a_hub_folder_is_loaded_back(cnn: Path, tmp_path: Path):
    folder = tmp_path / "hub"
    written = export(cnn, folder, hub_folder=True)
    assert written.file == folder / "model.safetensors"
    assert str(written).startswith(f"{written.file} (1.9 MB): on 128 synthetic images, ")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert json.loads((folder / "config.json").read_text())["model"] == "cnn"
    (plain,) = Predictor([cnn], device="cpu", crops=True).predict(images(1))
    (loaded,) = Predictor(find_weights(where=folder), device="cpu", crops=True).predict(images(1))
    assert loaded == plain
    with pytest.raises(UsageError, match="exists"):
        export(cnn, folder, hub_folder=True)


def test_an_export_that_was_killed_between_its_files_is_made_again(
    cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, card = tmp_path / "half.safetensors", tmp_path / "half.md"
    replace = Path.replace

    def kill(path: Path, target: Path) -> Path:
        if target == out:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", kill)
        export(cnn, out, card=True)
    assert card.exists() and not out.exists()
    export(cnn, out, card=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.md", "half.safetensors"]


def test_an_export_spares_what_is_there(cnn: Path, tmp_path: Path):
    card = tmp_path / "cnn.md"
    for text in ("my notes", "`cnn.onnx` holds 32-bit floats."):
        card.write_text(text)
        with pytest.raises(UsageError, match=r"--card: .* was not written by this command"):
            export(cnn, tmp_path / "cnn.safetensors", card=True)
        assert card.read_text() == text
    (tmp_path / "link.safetensors").symlink_to("gone")
    with pytest.raises(UsageError, match=r"OUT: .* exists"):
        export(cnn, tmp_path / "link.safetensors")


@pytest.mark.parametrize("name", ["full.safetensors", "full.onnx", "full.pt2"])
def test_a_full_disk_is_one_error_and_leaves_nothing(cnn: Path, tmp_path: Path, name: str):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(DiskError, match=rf"No room for .*/{name} .* MB needed"):
            export(cnn, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_int8_is_calibrated_and_loses_the_figures(cnn: Path, dataset_folder: Path, tmp_path: Path):
    out = tmp_path / "cnn.onnx"
    parity = export(cnn, out, precision="int8", data=dataset_folder).parity
    assert "validation images" in parity.images
    assert 0 < parity.difference < 0.1 and parity.same >= 0.98
    assert out.stat().st_size < 0.7 * cnn.stat().st_size  # whose matrices have 16 bits
    assert read_metadata(out) == replace(read_metadata(cnn), metrics={})


def test_an_export_that_differs_is_refused(
    cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = write_model(tmp_path / "other.safetensors")  # of another temperature
    monkeypatch.setattr(module.onnx, "write_program", lambda program, out, metadata: out.touch())
    wrong = Predictor([other], device="cpu").models[0]
    monkeypatch.setattr(
        module.onnx, "load_program", lambda path: lambda x: wrong.answer(x, flip=False).groups
    )
    monkeypatch.setattr(module.onnx, "to_program", lambda source: None)
    with pytest.raises(WeightsError, match="differs: on 128 synthetic images"):
        export(cnn, tmp_path / "cnn.pt2", card=True)
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"to": "onnx"}, "--dtype"),
        ({"to": "pt2", "precision": "int8", "data": Path()}, "--int8"),
        ({"to": "onnx", "precision": "int8"}, "--data"),
        ({"to": "onnx", "precision": "fp32", "with_backbone": True}, "--with-backbone"),
    ],
)
def test_options_that_do_not_go_together(settings: dict, named: str):
    with pytest.raises(UsageError, match=named):
        ExportConfig(**settings)


def test_a_missing_package_names_the_command(
    cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(AgecliError, match=r'onnxscript: pip install "agecli\[onnx\]"'):
        export(cnn, tmp_path / "cnn.onnx")
    assert not list(tmp_path.iterdir())


def test_it_is_the_packages_own_and_what_it_is_given_has_to_fit(cnn: Path, tmp_path: Path):
    import agecli

    assert agecli.export is export
    with pytest.raises(UsageError, match=r"is not a \.onnx file"):
        export(cnn, tmp_path / "cnn.pt2", form="onnx")
    with pytest.raises(UsageError, match="does not end in"):
        export(cnn, tmp_path / "cnn.bin")
    for name in ("a", "b"):
        write_model(tmp_path / "two" / f"{name}.safetensors")
    with pytest.raises(UsageError, match="contains several"):
        export(tmp_path / "two", tmp_path / "cnn.onnx")
