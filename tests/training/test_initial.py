"""Initial weights and teachers of a training: finding and checking them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agecli.config import CnnConfig, Dinov2Config, ResNetConfig
from agecli.data.seen import BYTES, fingerprints, fingerprints_of, merge
from agecli.data.store import open_dataset
from agecli.errors import UsageError, WeightsError
from agecli.training.initial import (
    check_split,
    fingerprints_of_run,
    only_weights,
    own_weights,
    training_of,
)
from agecli.training.runs import Run
from agecli.weights import read_metadata, released_folder, save_weights
from tests.exporting.models import add_fingerprints, write_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return write_model(tmp_path / "run" / "best.safetensors", "cnn", training={"seconds": 600})


def test_a_name_a_run_and_a_file_are_found(weights: Path):
    assert own_weights("cnn") == released_folder() / "cnn.safetensors"
    assert own_weights(str(weights.parent)) == own_weights(str(weights)) == weights
    assert training_of(str(weights.parent), Run(Path("new"))) == {"seconds": 600}


def test_files_of_another_make_are_none_of_ours(tmp_path: Path):
    save_file({"fc.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\0" * 8)
    for name in ("other.safetensors", "cut.safetensors", "nowhere.pth"):
        assert own_weights(str(tmp_path / name)) is None
        assert training_of(str(tmp_path / name), Run(Path("new"))) is None


def test_a_file_of_a_newer_agecli_is_ours_and_cannot_be_begun_with(
    dataset_folder: Path, weights: Path
):
    save_weights(weights, load_file(weights), replace(read_metadata(weights), format=99))
    assert own_weights(str(weights)) == weights
    with pytest.raises(WeightsError, match="format 99"):
        check_split("--init", weights, CnnConfig(data=str(dataset_folder)))


def test_a_folder_without_weights_is_reported(tmp_path: Path):
    with pytest.raises(WeightsError, match="No weights file"):
        own_weights(str(tmp_path))


def test_of_a_folder_of_several_one_must_be_named(weights: Path, tmp_path: Path):
    assert only_weights("--init", str(weights.parent)) == weights
    for name in ("a", "b"):
        write_model(tmp_path / f"{name}.safetensors")
    with pytest.raises(UsageError, match=r"--teacher: .* holds 2 weights files: pass one of them"):
        only_weights("--teacher", str(tmp_path))


def test_a_run_that_has_begun_knows_what_came_before(weights: Path, tmp_path: Path):
    """Its initial weights may be overwritten or gone by the time it is resumed."""
    run = Run(tmp_path / "second")
    (run.folder / "last").mkdir(parents=True)
    write_model(run.best, "cnn", training={"before": {"seconds": 60}})
    assert training_of(str(weights), run) == {"seconds": 600}
    run.save([])
    assert training_of(str(weights), run) == {"seconds": 60}
    assert training_of("gone", run) == {"seconds": 60}


def test_weights_of_another_split_are_refused(dataset_folder: Path, weights: Path):
    config = CnnConfig(data=str(dataset_folder))
    with pytest.raises(UsageError, match=r"--teacher: .*best.safetensors .*another split"):
        check_split("--teacher", weights, config)
    split_hash = open_dataset(dataset_folder).split_hash
    save_weights(
        weights, load_file(weights), replace(read_metadata(weights), split_hash=split_hash)
    )
    check_split("--teacher", weights, config)


def test_weights_of_another_split_may_prove_that_they_have_not_seen_the_images(
    dataset_folder: Path, weights: Path
):
    dataset = open_dataset(dataset_folder)
    config = CnnConfig(data=str(dataset_folder))
    add_fingerprints(weights, fingerprints_of(dataset, dataset.rows("train")))
    check_split("--init", weights, config)
    held_out = len(dataset.rows("val")) + len(dataset.rows("test"))
    for rows in (dataset.rows("val")[:1], dataset.rows("test")[-1:]):
        add_fingerprints(weights, fingerprints_of(dataset, rows))
        with pytest.raises(UsageError, match=rf"--init: .* has seen 1 of its {held_out} valid"):
            check_split("--init", weights, config)


def write_prints(path: Path, *numbers: int) -> np.ndarray:
    """Write a weights file with fingerprints, each of one number."""
    prints = np.repeat(np.uint8(numbers)[:, None], BYTES, axis=1)
    add_fingerprints(write_model(path, "cnn"), prints)
    return prints


def test_what_a_run_has_seen_is_its_images_and_what_it_began_with_and_learned_from(
    dataset_folder: Path, tmp_path: Path
):
    dataset = open_dataset(dataset_folder)
    rows = dataset.rows("train")[:9]
    own = fingerprints(dataset.images[rows])
    run, first, teacher = (
        tmp_path / name for name in ("run", "first.safetensors", "t.safetensors")
    )
    before = write_prints(first, 1, 2), write_prints(teacher, 2, 3)
    data = str(dataset_folder)
    for config, wanted in (
        (CnnConfig(data=data), merge(own)),
        (ResNetConfig(data=data, init="imagenet"), merge(own)),
        (CnnConfig(data=data, init=str(first)), merge(own, before[0])),
        (
            Dinov2Config(data=data, init=str(first), teacher=str(teacher), backbone="scratch:tiny"),
            merge(own, *before),
        ),
    ):
        found = fingerprints_of_run(config, Run(run), dataset, rows)
        np.testing.assert_array_equal(found, wanted)


def test_what_began_with_weights_that_do_not_say_is_unknown(
    dataset_folder: Path, weights: Path, tmp_path: Path
):
    dataset, run = open_dataset(dataset_folder), Run(tmp_path / "new")
    save_file({"fc.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    for init in (str(weights), str(tmp_path / "other.safetensors")):
        config = ResNetConfig(data=str(dataset_folder), init=init)
        assert fingerprints_of_run(config, run, dataset, dataset.rows("train")) is None


def test_a_run_that_has_begun_knows_what_it_has_seen(dataset_folder: Path, tmp_path: Path):
    run = Run(tmp_path / "run")
    (run.folder / "last").mkdir(parents=True)
    prints = write_prints(run.best, 7)
    run.save([])
    dataset = open_dataset(dataset_folder)
    config = CnnConfig(data=str(dataset_folder), init="gone")
    found = fingerprints_of_run(config, run, dataset, dataset.rows("train"))
    np.testing.assert_array_equal(found, prints)
