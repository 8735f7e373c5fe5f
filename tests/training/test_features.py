"""The cache of features against the backbone itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agecli.config import Dinov2Config
from agecli.data.batches import to_input
from agecli.data.store import Dataset, open_dataset
from agecli.models.dinov2 import Dinov2, backbone_state, describe_backbone
from agecli.training import features as module
from agecli.training.features import cache_features, read_features
from agecli.training.transformers import settle
from tests.launching import Threads
from tests.models.backbones import WIDTH, count_images, save_backbone

CPU = torch.device("cpu")


def cached_features(*arguments, **settings) -> torch.Tensor:
    """Compute features into the cache, and read them."""
    return read_features(cache_features(*arguments, **settings))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture
def dataset(dataset_folder: Path, tmp_path: Path) -> Dataset:
    """Return the drawn faces with a folder of their own for the cache."""
    return replace(open_dataset(dataset_folder), folder=tmp_path)


@pytest.fixture
def config(backbone: Path, dataset_folder: Path) -> Dinov2Config:
    plain = Dinov2Config(backbone=str(backbone), data=str(dataset_folder), batch_size=16)
    return settle(plain, announce=print, dry=False)


@pytest.fixture
def model(backbone: Path) -> Dinov2:
    model = Dinov2(outputs=3, backbone=describe_backbone(str(backbone), "", 0, 0.0))
    model.load_state_dict(model.state_dict() | backbone_state(str(backbone), ""))
    return model


def test_cached_features_are_the_backbones(model, dataset, config):
    rows = dataset.rows("train")[:40]
    cached = cached_features(model, dataset, rows, config, CPU)
    model.eval()
    with torch.inference_mode():
        x = to_input(torch.from_numpy(dataset.images[rows]), 28, config.mean, config.std)
        expected = model.features(x)
    assert cached.shape == (40, 2 * WIDTH)
    assert torch.allclose(cached, expected, atol=1e-5)


def test_a_second_run_computes_nothing(monkeypatch, model, dataset, config):
    rows = dataset.rows("train")
    first = cached_features(model, dataset, rows, config, CPU)
    seen = count_images(monkeypatch)
    assert torch.equal(cached_features(model, dataset, rows, config, CPU), first)
    assert seen == []


def test_a_stopped_computation_resumes_at_the_next_row(monkeypatch, model, dataset, config):
    rows = dataset.rows("train")[:50]
    whole = cached_features(model, dataset, rows, replace(config, batch_size=10), CPU).clone()
    (file,) = (dataset.folder / "features").iterdir()
    file.unlink()

    def stop(done: int, total: int) -> None:
        assert total == 50
        if done == 20:
            raise KeyboardInterrupt

    ten = replace(config, batch_size=10)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, dataset, rows, ten, CPU, tell=stop)
    (partial,) = (dataset.folder / "features").glob("*.partial")
    with partial.open("ab") as torn:
        torn.write(bytes(3 * whole[0].nbytes) + b"half a row")  # of a batch of ten
    seen = count_images(monkeypatch)
    assert torch.allclose(cached_features(model, dataset, rows, ten, CPU), whole, atol=1e-6)
    assert seen == [10, 10, 10]
    (file,) = (dataset.folder / "features").iterdir()
    assert file.suffix == ".safetensors"


@pytest.mark.parametrize(
    "change",
    [{"image_size": 35}, {"mean": (0.1, 0.1, 0.1)}, {"revision": "other"}, {"amp": True},
     {"pool": "cls"}],
)  # fmt: skip
def test_what_changes_features_has_a_cache_of_its_own(dataset, config, change: dict):
    rows = dataset.rows("val")
    keys = [module._key(dataset, rows, c, CPU, 0) for c in (config, replace(config, **change))]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("change", [{"lr": 0.1}, {"seed": 5}, {"batch_size": 3}, {"epochs": 2}])
def test_what_changes_nothing_shares_the_cache(dataset, config, change: dict):
    rows = dataset.rows("val")
    keys = [module._key(dataset, rows, c, CPU, 0) for c in (config, replace(config, **change))]
    assert keys[0] == keys[1]


def test_another_split_or_other_rows_have_caches_of_their_own(dataset, config):
    rows = dataset.rows("val")
    other = replace(dataset, split_hash="x")
    keys = [
        module._key(dataset, rows, config, CPU, 0),
        module._key(other, rows, config, CPU, 0),
        module._key(dataset, rows[1:], config, CPU, 0),
        module._key(dataset, rows, config, CPU, 1),
    ]
    assert len({str(key) for key in keys}) == 4


@pytest.mark.parametrize("change", [{"seed": 5}, {"augment": "light"}])
def test_an_augmented_view_is_not_served_for_another_seed_or_augmentation(
    model, dataset, config, change: dict
):
    rows = dataset.rows("val")[:8]
    other = replace(config, **change)
    first = cached_features(model, dataset, rows, config, CPU, view=1).clone()
    second = cached_features(model, dataset, rows, other, CPU, view=1).clone()
    assert not torch.equal(first, second)
    assert torch.equal(cached_features(model, dataset, rows, config, CPU, view=1), first)


def test_views_differ_and_repeat(model, dataset, config):
    rows = dataset.rows("train")[:20]
    views = [cached_features(model, dataset, rows, config, CPU, view=v).clone() for v in range(3)]
    assert not torch.allclose(views[0], views[1], atol=1e-3)
    assert not torch.allclose(views[1], views[2], atol=1e-3)
    for file in (dataset.folder / "features").iterdir():
        file.unlink()
    assert torch.equal(cached_features(model, dataset, rows, config, CPU, view=1), views[1])


def test_the_cache_is_a_safetensors_file_of_any_reader(model, dataset, config):
    from safetensors.numpy import load_file

    rows = dataset.rows("val")
    cached = cached_features(model, dataset, rows, config, CPU)
    (file,) = (dataset.folder / "features").iterdir()
    assert np.array_equal(load_file(file)["features"], cached.numpy())
    assert file.stat().st_size < cached.nbytes + 1500


def test_a_cache_that_was_cut_in_its_head_is_made_again(model, dataset, config):
    rows = dataset.rows("val")
    path = cache_features(model, dataset, rows, config, CPU)
    whole = path.read_bytes()
    path.rename(path.with_suffix(".partial")).write_bytes(whole[:40])
    assert cache_features(model, dataset, rows, config, CPU).read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_cache_that_another_training_makes_meanwhile_is_taken(
    monkeypatch, model, dataset, config
):
    rows = dataset.rows("val")
    path = cache_features(model, dataset, rows, config, CPU)
    kept = path.rename(path.with_suffix(".elsewhere"))

    class Waited:
        """A lock for which one waits until the other has its file."""

        def __init__(self, path: Path) -> None: ...

        def __enter__(self) -> None:
            kept.rename(path)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(module, "FileLock", Waited)
    seen = count_images(monkeypatch)
    assert cache_features(model, dataset, rows, config, CPU) == path
    assert seen == []


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_computation_and_the_first_has_the_file(
    monkeypatch, model, dataset, config, world: int
):
    rows = dataset.rows("train")[:42]
    alone = cached_features(model, dataset, rows, config, CPU, view=1).clone()
    (file,) = (dataset.folder / "features").iterdir()
    file.unlink()
    launch, seen = Threads(monkeypatch, world), count_images(monkeypatch)
    for _ in range(2):  # the second time there is nothing to compute
        paths = launch.run(lambda: cache_features(model, dataset, rows, config, CPU, 1))
        assert paths == [file] * world
        assert torch.equal(read_features(file), alone)
        assert sorted(seen) == [10, 16, 16]


def test_data_begin_where_the_format_wants_them():
    """At a multiple of 8 bytes, of which the first are the length of the text."""
    for length in range(9):
        header = module._header(torch.float32, (7, 3), {"key": "x" * length})
        assert len(header) % 8 == 0
        assert int.from_bytes(header[:8], "little") == len(header) - 8
        assert json.loads(header[8:])["features"] == {
            "dtype": "F32", "shape": [7, 3], "data_offsets": [0, 7 * 3 * 4]
        }  # fmt: skip


def test_double_precision_is_kept(model, dataset, config):
    rows = dataset.rows("val")[:5]
    assert cached_features(model.double(), dataset, rows, config, CPU).dtype == torch.float64


def test_features_that_are_not_numbers_are_not_kept(model, dataset, config):
    from agecli.errors import TrainingError

    with torch.no_grad():
        model.backbone.layernorm.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="not finite"):
        cached_features(model, dataset, dataset.rows("val"), config, CPU)
    assert not list((dataset.folder / "features").glob("*.safetensors"))
