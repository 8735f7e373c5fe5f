"""The resnet against torchvision's body and fastai's head."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from agecli.models.blocks import fold, to_channels_last
from agecli.models.resnet import ARCHS, HIDDEN, Body, ConcatPool, ResNet

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of fastai


def shake(module: nn.Module) -> nn.Module:
    """Set every batch norm to weights and statistics that a fresh one does not have."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in [
                (norm.weight, 0.5, 1.0), (norm.bias, -0.2, 0.2),
                (norm.running_mean, -0.3, 0.3), (norm.running_var, 0.5, 2.0),
            ]:  # fmt: skip
                nn.init.uniform_(tensor, low, high)
    return module


def torchvision_features(network: nn.Module, x: Tensor) -> Tensor:
    """Return torchvision's features before its average pooling."""
    kept = []
    network.avgpool.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    network(x)
    return kept[0]


@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch != "dlib29"])
@pytest.mark.parametrize("training", [False, True])
def test_the_body_is_torchvisions(arch: str, training: bool):
    import torchvision

    torch.manual_seed(0)
    reference = shake(torchvision.models.get_model(arch)).train(training)
    state = {k: v.clone() for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    body = Body(arch)
    assert body.state_dict().keys() == state.keys()
    body.load_state_dict(state)
    x = torch.randn(2, 3, 64, 64)
    features = body.train(training)(x)
    assert features.shape == (2, body.width, 2, 2)
    expected = torchvision_features(reference, x)
    assert expected.std() > 0.01  # or nothing is compared
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    for name, tensor in body.state_dict().items():  # with its running statistics
        torch.testing.assert_close(tensor, reference.state_dict()[name], msg=name)


def test_a_fresh_body_is_drawn_as_torchvision_draws_its():
    import torchvision

    body, reference = Body("resnet18").state_dict(), torchvision.models.resnet18().state_dict()
    for name, tensor in body.items():
        if tensor.ndim == 4:
            assert tensor.std().item() == pytest.approx(reference[name].std().item(), rel=0.05)


@pytest.mark.parametrize("training", [False, True])
def test_the_head_is_fastais(training: bool):
    from fastai.vision.learner import create_head

    torch.manual_seed(0)
    model = ResNet(outputs=7, arch="resnet18", dropout=0.4)
    head = shake(model.head).train(training)
    reference = create_head(model.body.width, 7, ps=0.4).train(training)
    tensors = head.state_dict().values()
    reference.load_state_dict(dict(zip(reference.state_dict(), tensors, strict=True)))
    x = torch.randn(5, model.body.width, 2, 3)
    outputs = []
    for module in (head, reference):
        torch.manual_seed(1)  # both drop the same
        outputs.append(module(x))
    assert outputs[0].shape == (5, 7)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.4]


def test_concat_pool_is_fastais():
    from fastai.layers import AdaptiveConcatPool2d

    x = torch.randn(2, 3, 4, 5)
    expected = AdaptiveConcatPool2d()(x).flatten(1)
    torch.testing.assert_close(ConcatPool()(x), expected)


def test_answers_are_the_heads_of_the_bodys_features():
    model = ResNet(outputs=101, arch="resnet18").eval()
    x = torch.randn(2, 3, 32, 32)
    assert model(x).shape == (2, 101)
    torch.testing.assert_close(model(x), model.head(model.body(x)), rtol=0, atol=0)
    assert model.head[4].out_features == HIDDEN


@pytest.mark.parametrize("arch", list(ARCHS))
def test_folding_changes_no_output(arch: str):
    torch.manual_seed(0)
    model = shake(ResNet(outputs=8, arch=arch)).eval()
    x = torch.randn(2, 3, 110, 110)
    expected = model(x)
    fold(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert expected.std() > 0.01
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "dlib29"])
def test_checkpointing_changes_neither_loss_nor_gradients_nor_statistics(arch: str):
    torch.manual_seed(0)
    model = shake(ResNet(outputs=5, arch=arch)).double().train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(3, 3, 110, 110, dtype=torch.float64)
    seen = []
    for wanted in (False, True):
        model.load_state_dict(state)
        model.zero_grad()
        model.grad_checkpoint = wanted
        assert model.grad_checkpoint is wanted and model.body.grad_checkpoint is wanted
        torch.manual_seed(1)
        loss = model(x).square().mean()
        loss.backward()
        facts = {"loss": loss.detach()}
        facts |= {f"grad {name}": p.grad.clone() for name, p in model.named_parameters()}
        facts |= {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seen.append(facts)
    plain, saving = seen
    assert not torch.equal(plain["body.bn1.running_mean"], state["body.bn1.running_mean"])
    for name, expected in plain.items():
        torch.testing.assert_close(saving[name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_checkpointing_stores_less_for_the_backward_pass():
    from agecli.training.memory_plan.footprint import SavedTensors

    model = ResNet(outputs=8, arch="resnet18").train()
    counts = []
    for model.grad_checkpoint in (False, True):
        with SavedTensors(model.parameters()) as saved:
            model(torch.randn(4, 3, 64, 64))
        counts.append(saved.bytes)
    assert counts[1] < 0.5 * counts[0]


def test_channels_last_gives_the_same_output():
    torch.manual_seed(0)
    model = shake(ResNet(outputs=8, arch="resnet18")).eval()
    x = torch.randn(2, 3, 64, 64)
    expected = model(x)
    actual = to_channels_last(model)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_arch_is_refused():
    with pytest.raises(ValueError, match="resnet19"):
        ResNet(outputs=8, arch="resnet19")


USE = """
import sys, torch
from pathlib import Path
from agecli.weights import load_weights
model, metadata = load_weights(Path(sys.argv[1]))
torch.save(model(torch.ones(1, 3, 32, 32)), sys.argv[2])
print([name for name in ("fastai", "torchvision") if name in sys.modules])
"""


def test_a_weights_file_is_used_without_fastai_and_torchvision(tmp_path):
    from agecli.weights import Metadata, save_weights

    torch.manual_seed(0)
    model = shake(ResNet(outputs=2, arch="resnet18")).eval()
    for parameter in model.parameters():  # as the file keeps it
        if parameter.ndim > 1:
            parameter.data = parameter.data.half().float()
    metadata = Metadata(
        model="resnet", architecture={"arch": "resnet18", "dropout": 0.5, "outputs": 2},
        objective="groups", scheme=["0-2", "4-6"], image_size=32, mean=[0.5] * 3, std=[0.5] * 3,
        crop={},
    )  # fmt: skip
    path, answer = tmp_path / "w.safetensors", tmp_path / "answer.pt"
    save_weights(path, model.state_dict(), metadata)
    result = subprocess.run(
        [sys.executable, "-c", USE, path, answer],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
    expected = model(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(torch.load(answer), expected, rtol=1e-5, atol=1e-6)
