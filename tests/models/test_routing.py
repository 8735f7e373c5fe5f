"""Routing without votes against routing as the paper writes it."""

import pytest
import torch

from agecli.models.routing import route, squash
from tests.models.reference import route_plainly

SHARED, OWN = (4, 5, 8, 16), (4, 9, 5, 8, 16)  # of 4 types at 9 positions, for 5 groups


def capsules(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def differ(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [SHARED, OWN], ids=["shared", "own"])
def test_equals_the_plain_routing_forward_and_backward(shape: tuple[int, ...], iterations: int):
    u = capsules(3, 4, 9, 8).requires_grad_()
    weight = (0.2 * capsules(*shape, seed=1)).requires_grad_()
    upstream = capsules(3, 5, 16, seed=2)
    scale = 0.7
    actual = route(u, weight, iterations=iterations, scale=scale)
    expected = route_plainly(u, weight * scale, iterations)
    assert differ(actual, expected) < 1e-10
    for ours, plain in zip(
        torch.autograd.grad((actual * upstream).sum(), (u, weight)),
        torch.autograd.grad((expected * upstream).sum(), (u, weight)),
        strict=True,
    ):
        assert differ(ours, plain) < 1e-10


def test_a_case_worked_by_hand():
    # One capsule of two values, two groups with one value each: votes 3 and 1.
    u = torch.tensor([[[[1.0, 2.0]]]], dtype=torch.float64)
    weight = torch.tensor([[[[1.0], [1.0]], [[1.0], [0.0]]]], dtype=torch.float64)
    # 1st iteration, coupling 1/2: s = 1.5, 0.5; v = s² / (1 + s²).
    v = torch.tensor([2.25 / 3.25, 0.25 / 1.25], dtype=torch.float64)
    coupling = torch.softmax(torch.tensor([3.0, 1.0], dtype=torch.float64) * v, 0)
    s = coupling * torch.tensor([3.0, 1.0], dtype=torch.float64)
    expected = s**2 / (1 + s**2)
    torch.testing.assert_close(route(u, weight, iterations=2)[0, :, 0], expected)


def test_squash_shrinks_to_the_papers_length():
    s = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    torch.testing.assert_close(
        squash(s), torch.stack([s[0] / 5 * 25 / 26, s[1] / 0.5 * 0.25 / 1.25])
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_zeros_stay_zeros_with_a_finite_gradient(dtype: torch.dtype):
    u = torch.zeros(2, 4, 9, 8, dtype=dtype, requires_grad=True)
    weight = torch.zeros(SHARED, requires_grad=True)
    out = route(squash(u), weight)
    out.sum().backward()
    assert (out == 0).all()
    assert u.grad.isfinite().all() and weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [SHARED, OWN], ids=["shared", "own"])
def test_half_precision_stays_near_the_full_one(shape: tuple[int, ...], dtype: torch.dtype):
    u = squash(capsules(3, 4, 9, 8, dtype=torch.float32))
    weight = 0.3 * capsules(*shape, seed=1, dtype=torch.float32)
    half = u.to(dtype).requires_grad_()
    w = weight.clone().requires_grad_()
    out = route(half, w)
    out.sum().backward()
    assert out.dtype == torch.float32 and half.grad.dtype == dtype and w.grad.dtype == w.dtype
    full = u.clone().requires_grad_()
    expected = route(full, weight)
    expected.sum().backward()
    assert differ(out, expected) < 0.02
    assert differ(half.grad.float(), full.grad) < 0.03


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_long_capsules_overflow_nowhere(dtype: torch.dtype):
    u = torch.full((1, 8, 4000, 8), 0.35, dtype=dtype, requires_grad=True)  # almost of length 1
    weight = torch.full((8, 8, 8, 16), 3.0, requires_grad=True)
    out = route(u, weight)
    out.sum().backward()
    assert out.isfinite().all() and (out.norm(dim=-1) <= 1).all()
    assert u.grad.isfinite().all() and weight.grad.isfinite().all()


def test_three_iterations_are_the_rule():
    u, weight = capsules(2, 4, 9, 8), 0.3 * capsules(*SHARED, seed=1)
    assert differ(route(u, weight), route_plainly(u, weight, 3)) < 1e-10


def test_squash_shrinks_along_any_dimension():
    s = capsules(4, 5, 6)
    assert torch.equal(squash(s, dim=1), squash(s.mT).mT)


@pytest.mark.parametrize("shape", [SHARED, OWN], ids=["shared", "own"])
def test_mixed_precision_leaves_the_sums_in_full(shape: tuple[int, ...]):
    u = capsules(2, 4, 9, 8, dtype=torch.float32)
    weight = 0.3 * capsules(*shape, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = route(u, weight)
    assert torch.equal(mixed, route(u, weight))


def test_keeps_one_tensor_of_capsules_for_the_backward_pass():
    from agecli.training.memory_plan.footprint import SavedTensors

    u = capsules(2, 4, 9, 8).requires_grad_()
    weight = torch.nn.Parameter(0.2 * capsules(*SHARED, seed=1))
    with SavedTensors([weight]) as saved:
        route(u, weight)
    group_capsules = 2 * 5 * 16 * 8  # bytes of (B, J, O) in float64
    assert u.nbytes <= saved.bytes <= u.nbytes + 6 * group_capsules
