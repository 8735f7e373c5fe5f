"""The cnn against a plain network with the same weights."""

import torch
from torch import nn

from agecli.models.blocks import fold
from agecli.models.checkpointing import checkpointed
from agecli.models.cnn import CNN, ConvBlock


def plain(model: CNN) -> nn.Module:
    """Build the network as the textbook orders it: conv, batch norm, ReLU, max pool."""
    layers = []
    for block in model.blocks:
        layers += [block.conv, block.norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *model.head)


def test_equals_the_textbook_order_of_layers():
    torch.manual_seed(0)
    model = CNN(outputs=8, image_size=32).eval()
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(x), plain(model)(x), rtol=0, atol=0)


def test_has_the_size_of_the_described_network():
    model = CNN(outputs=8, image_size=64)
    convolutions = sum(9 * i * o + 2 * o for i, o in [(3, 32), (32, 64), (64, 128), (128, 256)])
    dense = 256 * 4 * 4 * 512 + 512 + 512 * 8 + 8
    assert sum(p.numel() for p in model.parameters()) == convolutions + dense
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 2


def test_channels_last_gives_the_same_output():
    torch.manual_seed(0)
    model = CNN(outputs=8, image_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = model(x)
    model = model.to(memory_format=torch.channels_last)
    actual = model(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_checkpointing_changes_neither_output_nor_gradient_nor_statistics():
    torch.manual_seed(0)
    block, twin = ConvBlock(3, 4).train(), ConvBlock(3, 4).train()
    twin.load_state_dict(block.state_dict())
    x = torch.randn(5, 3, 8, 8, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    block(x).square().sum().backward()
    checkpointed(twin, y).square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=0)
    for (name, expected), actual in zip(
        block.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, msg=name)
    assert twin.norm.momentum == 0.1


def test_checkpointing_stores_less_for_the_backward_pass():
    from agecli.training.memory_plan.footprint import SavedTensors

    model = CNN(outputs=8, image_size=64).train()
    counts = []
    for model.grad_checkpoint in (False, True):
        with SavedTensors(model.parameters()) as saved:
            model(torch.randn(4, 3, 64, 64))
        counts.append(saved.bytes)
    assert counts[1] < 0.5 * counts[0]


def test_folding_changes_no_output():
    torch.manual_seed(0)
    model = CNN(outputs=8, image_size=32).train()
    model(torch.randn(16, 3, 32, 32))  # moves the running statistics
    model.eval()
    x = torch.randn(4, 3, 32, 32)
    expected = model(x)
    fold(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
