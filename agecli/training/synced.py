"""Batch norm over the batches of all processes, as if one process had seen them all."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from agecli import distributed


def share_statistics(model: nn.Module, device: str) -> None:
    """Synchronise the statistics of a model's batch norms between processes, if there are several.

    device: where it is trained. On CUDA they become torch's SyncBatchNorm, which supports no other
    device; elsewhere ours. Their names, weights and evaluation mode stay the same. All processes
    must have equally many images.
    """
    if distributed.world() == 1:
        return
    if device == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if shared := SHARED.get(type(module)):
            module.__class__ = shared  # so that all references to the module see it


class _SharedNorm(_BatchNorm):
    """Batch norm whose training statistics are shared by all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, ...) to the same shape."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        with torch.no_grad():
            places = [0, *range(2, x.ndim)]
            exact = x.to(self.weight.dtype)
            centre = exact.mean(places, keepdim=True)  # (1, C, 1, 1)
            spread = (exact - centre).square_().mean(places)  # torch.var_mean takes ten times this
            own = torch.stack([centre.flatten(), spread])  # (2, C)
            means, variances = distributed.gather_tensor(own).unbind(1)  # (world, C)
            mean = means.mean(0)
            variance = (variances + (means - mean).square()).mean(0)
            self._follow(mean, variance, len(means) * x.numel() // x.shape[1])
        return _Normalise.apply(x, self.weight, self.bias, mean, variance, self.eps)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics with those of `count` values per channel."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


class _Normalise(torch.autograd.Function):
    """Batch norm by given statistics, those of all processes' batches.

    Its gradient is the one with fixed statistics, minus the part through the statistics: a constant
    and a multiple of the input per channel, computed from sums over all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor,
        eps: float,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight, mean, variance = ctx.saved_tensors
        direct, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        own = torch.stack([for_bias, for_weight])  # (2, C): sums of gradient, gradient · normalised
        sums = distributed.gather_tensor(own)  # (world, 2, C)
        count = len(sums) * x.numel() // x.shape[1]
        by_mean, by_deviation = sums.sum(0) / count
        spread = (variance + ctx.eps).rsqrt()
        slope = weight * spread * spread * by_deviation
        offset = weight * spread * by_mean - slope * mean
        shape = (1, -1, *[1] * (x.ndim - 2))
        of_input = torch.addcmul(direct, x, -slope.view(shape)).sub_(offset.view(shape))
        return of_input.to(x.dtype), for_weight, for_bias, None, None, None


class _SharedNorm1d(_SharedNorm, nn.BatchNorm1d):
    pass


class _SharedNorm2d(_SharedNorm, nn.BatchNorm2d):
    pass


SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _SharedNorm1d,
    nn.BatchNorm2d: _SharedNorm2d,
}
