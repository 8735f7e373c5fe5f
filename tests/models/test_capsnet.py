"""The capsnet: shapes, the start, gradients, checkpointing, folding."""

import math

import pytest
import torch
from torch import nn

from agecli.models.blocks import fold, to_channels_last
from agecli.models.capsnet import CapsNet
from agecli.models.routing import squash
from tests.models.reference import route_plainly


def build(**settings) -> CapsNet:
    torch.manual_seed(0)
    return CapsNet(**({"outputs": 8, "image_size": 32} | settings))


def images(size: int = 32, count: int = 4) -> torch.Tensor:
    """Draw smooth pictures: like those of faces, neighbouring positions are alike."""
    coarse = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")


@pytest.mark.parametrize(
    ("size", "side"), [(32, 6), (33, 7), (64, 6), (80, 8), (96, 10), (112, 12), (128, 6), (224, 12)]
)
def test_the_strided_stem_ends_in_a_small_grid(size: int, side: int):
    model = build(image_size=size).eval()
    x = images(size, 1)
    for stage in model.stages:
        x = stage(x)
    assert model.primary(x).shape == (1, 32, side * side, 8)
    assert side <= 12


@pytest.mark.parametrize("size", [55, 56, 96, 103, 150, 224])
def test_the_size_of_dlibs_grid_is_foreseen(size: int):
    model = build(stem="dlib29", image_size=size, share=False).eval()  # a matrix per position
    assert model(images(size, 1)).shape == (1, 8)
    assert model.weight.shape[1] == model.capsules(images(size, 1)).shape[2]


def test_the_classic_stem_is_the_papers():
    model = build(stem="classic", share=False, image_size=32)
    first, second = model.stages[0].conv, model.primary.conv
    assert (first.kernel_size, first.stride, first.out_channels) == ((9, 9), (1, 1), 256)
    assert (second.kernel_size, second.stride, second.out_channels) == ((9, 9), (2, 2), 256)
    assert model.weight.shape == (32, 8 * 8, 8, 8, 16)  # 24 × 24, then 8 × 8 positions


def test_logits_are_the_logs_of_the_lengths_that_plain_routing_gives():
    model = build(routing_iters=2).double().eval()
    x = images().double()
    y = x
    for stage in model.stages:
        y = stage(y)
    y = model.primary.conv(y)  # (B, 256, 6, 6): channel t·8 + i is value i of type t
    u = squash(y.unflatten(1, (32, 8)).flatten(3).transpose(2, 3))  # (B, 32, 36, 8)
    expected = route_plainly(u, model.weight * model.scale, 2).norm(dim=-1).log()
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("share", [True, False], ids=["share", "no-share"])
@pytest.mark.parametrize(
    ("stem", "size"),
    [("strided", 32), ("strided", 96), ("strided", 128), ("classic", 32), ("classic", 48),
     ("dlib29", 103), ("dlib29", 150)],
)  # fmt: skip
def test_group_capsules_start_where_they_can_learn(stem: str, size: int, share: bool):
    lengths = build(stem=stem, image_size=size, share=share)(images(size)).exp()
    assert 0.05 < lengths.mean() < 0.8
    assert lengths.max() < 0.9


@pytest.mark.parametrize("stem", ["strided", "classic"])
@pytest.mark.parametrize("share", [True, False], ids=["share", "no-share"])
def test_every_weight_learns(stem: str, share: bool):
    model = build(stem=stem, share=share, reconstruction=True)
    logits, pictures = model(images(), torch.tensor([0, 3, 5, 7]))
    assert logits.shape == (4, 8) and pictures.shape == (4, 3, 32, 32)
    (logits.sum() + pictures.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_decoder_sees_the_true_groups_capsule_alone():
    decoder = build(reconstruction=True).decoder
    capsules = torch.randn(2, 8, 16)
    other = capsules.clone()
    other[:, 4] = 9.0
    groups = torch.tensor([1, 2])
    torch.testing.assert_close(decoder(capsules, groups), decoder(other, groups))
    assert not torch.equal(decoder(capsules, groups), decoder(capsules, groups + 1))


def test_without_a_decoder_there_is_no_picture():
    logits, pictures = build()(images(), torch.tensor([0, 3, 5, 7]))
    assert pictures is None and logits.shape == (4, 8)


def test_an_empty_picture_gives_finite_logits_and_gradients():
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    logits = model(torch.zeros(2, 3, 32, 32))
    logits.exp().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_checkpointing_and_memory_layout_change_nothing():
    plain, saving = build().train(), to_channels_last(build()).train()
    saving.grad_checkpoint = True
    x = images()
    out, twin = plain(x), saving(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(twin, out, rtol=1e-4, atol=1e-4)
    out.sum().backward(), twin.sum().backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-4, msg=name)
    for a, b in zip(plain.buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)


def test_folding_changes_no_output():
    model = build().train()
    model(images(count=16))  # moves the running statistics
    model.eval()
    expected = model(images())
    fold(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(images()), expected, rtol=1e-4, atol=1e-4)


def test_mixed_precision_gives_about_the_same_lengths():
    model = build().train()
    expected = model(images()).exp()
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(images()).exp()
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0.1, atol=0.02)


def test_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match="32"):
        build(image_size=31)
    assert math.isfinite(build(image_size=32).scale)
