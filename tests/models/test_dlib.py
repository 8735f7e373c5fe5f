"""dlib's weights file: against its definition of the network, and damaged."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agecli.config import IMAGENET_MEAN, IMAGENET_STD
from agecli.errors import WeightsError
from agecli.models.dlib import read_body, set_statistics
from agecli.models.resnet import Body
from tests.models.dlib_file import Layers, random_layers, write_dlib


@pytest.fixture(scope="module")
def layers() -> Layers:
    return random_layers()


@pytest.fixture(scope="module")
def file(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlib") / "model.dat"
    write_dlib(path, layers)
    return path


def dlibs_features(layers: Layers, pixels: Tensor) -> Tensor:
    """Compute the network as dlib's dnn_face_recognition_ex.cpp defines it, from pixels 0 to 255.

    A strided convolution has no padding; adding up, the smaller tensor ends in zeros.
    """
    todo = iter(layers)

    def layer(x: Tensor, stride: int) -> Tensor:
        weight, bias, scale, shift = next(todo)
        padding = 0 if stride > 1 else weight.shape[-1] // 2
        x = F.conv2d(x, weight, bias, stride=stride, padding=padding)
        return x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    x = (pixels - torch.tensor([122.782, 117.001, 104.298]).view(3, 1, 1)) / 256
    x = F.max_pool2d(torch.relu(layer(x, 2)), 3, 2)
    for count, halves in [(3, False), (3 + 1, True), (2 + 1, True), (2 + 1, True), (1, True)]:
        for index in range(count):
            down = halves and index == 0
            y = layer(torch.relu(layer(x, 2 if down else 1)), 1)
            shortcut = F.avg_pool2d(x, 2) if down else x
            shape = [max(a, b) for a, b in zip(y.shape, shortcut.shape, strict=True)]
            total = torch.zeros(shape)
            for part in (y, shortcut):
                total[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
            x = torch.relu(total)
    assert next(todo, None) is None
    return x


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels / 255 - mean) / std


def body_of(file: Path) -> Body:
    body = Body("dlib29").requires_grad_(False)
    body.load_state_dict(read_body(file))
    return body.eval()


def pictures(size: int) -> Tensor:
    coarse = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return 255 * F.interpolate(coarse, (size, size), mode="bilinear")


@pytest.mark.parametrize("size", [103, 128, 150])
def test_features_are_those_of_dlibs_definition(layers: Layers, file: Path, size: int):
    pixels = pictures(size)
    expected = dlibs_features(layers, pixels)
    assert expected.shape[1] == 256 and expected.std() > 0.01
    features = body_of(file)(normalised(pixels))
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_with_statistics_training_begins_where_the_weights_are(file: Path):
    body, x = body_of(file), normalised(pictures(150))
    expected = body(x)
    assert (body.train()(x) - expected).std() > 0.5 * expected.std()  # far from it
    body = body_of(file).train()
    set_statistics(body, [x[:4], x[4:]])
    assert body.training
    near = {"rtol": 1e-3, "atol": 1e-3 * float(expected.std())}
    torch.testing.assert_close(body.eval()(x), expected, **near)
    torch.testing.assert_close(body.train()(x), expected, **near)


def test_statistics_are_set_where_processes_share_them(file: Path):
    """On CUDA batch norms become torch's SyncBatchNorm, which is no BatchNorm2d."""
    x = normalised(pictures(150))
    alone, shared = body_of(file), nn.SyncBatchNorm.convert_sync_batchnorm(body_of(file))
    for body in (alone, shared):
        set_statistics(body, [x])
    assert alone.bn1.running_var.std() > 0
    for name, tensor in shared.state_dict().items():
        torch.testing.assert_close(tensor, alone.state_dict()[name], msg=name)


@pytest.mark.parametrize("share", [0, 0.0001, 0.3, 0.999])
def test_a_file_that_ends_too_early_is_refused(file: Path, tmp_path: Path, share: float):
    whole = file.read_bytes()
    (tmp_path / "cut.dat").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"--init: .*cut\.dat is not dlib's .*\n?"):
        read_body(tmp_path / "cut.dat")


def test_other_values_than_a_networks_are_refused(layers: Layers, tmp_path: Path):
    path = tmp_path / "other.dat"
    weight, bias, scale, shift = layers[3]
    for wrong in (
        (weight[:1], bias[:1], scale, shift),
        (weight, bias, scale[:-1], shift),
        (weight.clone().fill_(torch.nan), bias, scale, shift),
        (weight, bias, scale, shift.clone().fill_(torch.inf)),
    ):
        write_dlib(path, [*layers[:3], wrong, *layers[4:]])
        with pytest.raises(WeightsError, match=re.escape(f"--init: {path} is not dlib's")):
            read_body(path)


def test_damaged_files_are_refused_or_finite(file: Path, tmp_path: Path):
    whole, random = file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        data = bytearray(whole)
        for place in random.integers(0, 60_000, 200):  # the first layers' heads and values
            data[place] = random.integers(256)
        (tmp_path / "damaged.dat").write_bytes(data)
        try:
            state = read_body(tmp_path / "damaged.dat")
            assert all(tensor.isfinite().all() for tensor in state.values())
        except WeightsError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused
