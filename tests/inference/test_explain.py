from pathlib import Path

import numpy as np
import pytest
import torch

from agecli.inference.explain import capsule_shares, explain, grad_cam
from agecli.inference.predictor import load_model
from agecli.models.routing import route
from tests.exporting.models import SIDE, write_model

CROP = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["cnn", "resnet", "capsnet"])
def test_halves_make_the_whole_model(name: str, tmp_path: Path):
    net = load_model(write_model(tmp_path / "w.safetensors", name), "cpu").module
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        front, back = net.halves(SIDE)
        features = front(x)
        assert features.numel() > 64
        torch.testing.assert_close(back(features), net(x))


def test_grad_cam_by_hand():
    # Two 2×2 maps; the score is 3·(mean of the first) - 1·(mean of the second)
    features = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 4.0], [0.0, 0.0]]]])
    heat = grad_cam(features, lambda f: f.mean(dim=(2, 3)) @ torch.tensor([[3.0], [-1.0]]), [0])
    # dscore/dfirst = 3/4 at each place, dscore/dsecond = -1/4
    torch.testing.assert_close(heat, torch.tensor([[0.75, -1.0], [0.0, 1.5]]))


def test_grad_cam_of_several_outputs_by_hand():
    # Outputs 2a and 4a of one map with the mean a = 0: both weigh 1/2, so the slope is 3 in a
    features = torch.tensor([[[[1.0, -1.0]]]])
    heat = grad_cam(
        features, lambda f: f.mean(dim=(2, 3)) @ torch.tensor([[2.0, 4.0, 9.0]]), [0, 1]
    )
    torch.testing.assert_close(heat, torch.tensor([[1.5, -1.5]]))


def test_capsule_shares_add_up_to_the_group_capsules_length():
    generator = torch.Generator().manual_seed(3)
    u = torch.randn(1, 2, 9, 4, generator=generator, dtype=torch.float64) / 3
    weight = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)

    def back(u: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(route(u, weight), dim=-1)

    heat = capsule_shares(u, back, [1])
    # |v| = n² / (1 + n²) of the capsule's length n before squashing; so n · d|v|/dn is the sum
    length = back(u)[0, 1]
    n = (length / (1 - length)).sqrt()
    assert heat.shape == (3, 3)
    torch.testing.assert_close(heat.sum(), n * 2 * n / (1 + n**2) ** 2)


def test_attention_is_that_of_transformers(tmp_path: Path):
    net = load_model(write_model(tmp_path / "w.safetensors", "dinov2"), "cpu").module
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heat = net.attention(x)
        net.backbone.set_attn_implementation("eager")
        theirs = net.backbone(pixel_values=x, output_attentions=True).attentions[-1]
    # (1, heads, tokens, tokens): from [CLS], to the 16 patches
    torch.testing.assert_close(heat.flatten(), theirs[0].mean(dim=0)[0, 1:])
    assert heat.shape == (4, 4)


@pytest.mark.parametrize("name", ["cnn", "resnet", "capsnet", "dinov2"])
def test_every_model_is_explained(name: str, tmp_path: Path):
    model = load_model(write_model(tmp_path / "w.safetensors", name), "cpu")
    explanation = explain(model, CROP, "25-32")
    assert explanation is not None and explanation.method == model.module.explained_by
    heat = explanation.heat
    assert heat.ndim == 2
    assert heat.min() >= 0
    assert heat.max() == pytest.approx(1)


def test_what_no_output_depends_on_gets_no_map(tmp_path: Path):
    model = load_model(write_model(tmp_path / "w.safetensors"), "cpu")
    with torch.no_grad():
        last = model.module.head[-1]
        last.weight.fill_(0)
        last.weight[25:33] = torch.randn(8, last.in_features)
    for group, seen in [("25-32", True), ("0-2", False)]:
        explanation = explain(model, CROP, group)
        assert explanation is not None
        assert (explanation.heat.max() > 0) == seen


def test_a_network_that_does_not_say_how_is_not_explained(tmp_path: Path, monkeypatch):
    model = load_model(write_model(tmp_path / "w.safetensors"), "cpu")
    monkeypatch.delattr(type(model.module), "explained_by")
    assert explain(model, CROP, "25-32") is None


def test_an_exported_model_is_not_explained(toy_onnx: Path):
    pytest.importorskip("onnxruntime")
    assert explain(load_model(toy_onnx), CROP, "25-32") is None
