"""Shared batch norm against torch's own over the whole batch."""

import pytest
import torch
from torch import Tensor, nn

from agecli import distributed
from agecli.models.blocks import ConvNorm, fold
from agecli.training.synced import share_statistics


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that another process has the same images and gradients."""
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "gather_tensor", lambda tensor: torch.stack([tensor, tensor]))


@pytest.mark.parametrize("shape", [(6, 5, 4, 4), (6, 5)])
def test_equals_batch_norm_over_all_images(twin: None, shape: tuple[int, ...]):
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    whole, shared = kind(5).double(), kind(5).double()
    for norm in (whole, shared):
        nn.init.constant_(norm.weight, 1.7)
    share_statistics(shared, "cpu")
    x = torch.randn(shape, dtype=torch.float64) * 3 + 10
    direction = torch.randn(shape, dtype=torch.float64)

    def run(norm: nn.Module, copies: int) -> tuple[Tensor, Tensor]:
        inputs = x.clone().requires_grad_()
        output = norm(torch.cat([inputs] * copies))
        (output * torch.cat([direction] * copies)).sum().backward()
        return output[: len(x)], inputs.grad / copies

    for expected, actual in zip(run(whole, 2), run(shared, 1), strict=True):
        torch.testing.assert_close(actual, expected)
    for expected, actual in zip(whole.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(2 * actual.grad, expected.grad)
    for expected, actual in zip(whole.buffers(), shared.buffers(), strict=True):
        torch.testing.assert_close(actual, expected)


def test_what_is_shared_is_still_a_batch_norm(twin: None, monkeypatch: pytest.MonkeyPatch):
    block = ConvNorm(3, 4)
    names = list(block.state_dict())
    share_statistics(block, "cpu")
    assert isinstance(block.norm, nn.BatchNorm2d)
    assert list(block.state_dict()) == names
    monkeypatch.delattr(distributed, "gather_tensor")  # evaluation asks nobody
    x = torch.randn(2, 3, 8, 8)
    expected = block.eval()(x)
    fold(block)
    torch.testing.assert_close(block(x), expected)


def test_on_cuda_they_are_torchs_synced_ones(twin: None):
    block = ConvNorm(3, 4)
    names = list(block.state_dict())
    share_statistics(block, "cuda")
    assert type(block.norm) is nn.SyncBatchNorm
    assert list(block.state_dict()) == names


def test_one_process_keeps_torchs_own():
    norm = nn.BatchNorm2d(3)
    share_statistics(norm, "cpu")
    assert type(norm) is nn.BatchNorm2d
