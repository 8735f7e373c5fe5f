"""The DINOv2 model against transformers' own on the same weights."""

from pathlib import Path

import pytest
import torch

from agecli.config import IMAGENET_MEAN, SCRATCH
from agecli.errors import UsageError, WeightsError
from agecli.models.dinov2 import Dinov2, backbone_state, describe_backbone, read_preprocessing
from tests.models.backbones import BLOCKS, PATCH, SIDE, WIDTH, save_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def with_registers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("registers"), registers=True)


def load(folder: Path, pool: str = "cls+mean") -> Dinov2:
    model = Dinov2(outputs=5, backbone=describe_backbone(str(folder), "", 0, 0.0), pool=pool)
    model.load_state_dict(model.state_dict() | backbone_state(str(folder), ""))
    return model.eval()


@pytest.mark.parametrize("side", [SIDE, SIDE + 2 * PATCH])  # the second interpolates positions
def test_forward_is_that_of_transformers(folder: Path, side: int):
    from transformers import Dinov2Model

    theirs = Dinov2Model.from_pretrained(folder).eval()
    x = torch.randn(3, 3, side, side)
    with torch.inference_mode():
        ours = load(folder).backbone(pixel_values=x)
        expected = theirs(x)
    assert torch.allclose(ours.last_hidden_state, expected.last_hidden_state, atol=1e-6)
    assert torch.allclose(ours.pooler_output, expected.pooler_output, atol=1e-6)
    assert expected.last_hidden_state.std() > 0.1  # not all the same


def test_registers_are_not_patches(with_registers: Path):
    from transformers import Dinov2WithRegistersModel

    theirs = Dinov2WithRegistersModel.from_pretrained(with_registers).eval()
    x = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        tokens = theirs(x).last_hidden_state
        features = load(with_registers).features(x)
    patches = (SIDE // PATCH) ** 2
    expected = torch.cat([tokens[:, 0], tokens[:, -patches:].mean(dim=1)], dim=1)
    assert tokens.shape[1] == patches + 3
    assert torch.allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pool", "parts"), [("cls", ["cls"]), ("mean", ["mean"]), ("cls+mean", ["cls", "mean"])]
)
def test_pooling_joins_what_it_names(folder: Path, pool: str, parts: list[str]):
    model = load(folder, pool)
    x = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        tokens = model.backbone(pixel_values=x).last_hidden_state
        features = model.features(x)
    by_name = {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=1)}
    assert torch.equal(features, torch.cat([by_name[part] for part in parts], dim=1))


def test_the_head_standardises_by_hand_worked_statistics():
    from agecli.models.dinov2 import Head

    head = Head(2, 1, dropout=0.0)
    head.standardise(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]))
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 10.0]]))
        head.linear.bias.fill_(0.25)
    assert head(torch.tensor([[5.0, 2.5]])).item() == pytest.approx(2.0 + 20.0 + 0.25)


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_only_the_last_blocks_are_trained(folder: Path, blocks: int):
    model = load(folder)
    model.train_last(blocks)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {name for name, _ in model.named_parameters() if name.startswith("head.")}
    for number in range(BLOCKS - blocks, BLOCKS):
        prefix = f"backbone.encoder.layer.{number}."
        expected |= {name for name, _ in model.named_parameters() if name.startswith(prefix)}
    if blocks:
        expected |= {"backbone.layernorm.weight", "backbone.layernorm.bias"}
    assert trained == expected


def test_the_layers_are_all_weights_once_from_the_top(folder: Path):
    model = load(folder)
    layers = list(model.layers_from_the_top())
    assert len(layers) == BLOCKS + 2
    assert sorted(id(p) for layer in layers for p in layer) == sorted(map(id, model.parameters()))
    last = model.backbone.encoder.layer[-1].norm1.weight
    assert any(p is last for p in layers[1])


def test_weights_named_by_another_version_of_transformers_are_read(folder: Path):
    from agecli.models.dinov2 import RENAMED

    model, x = load(folder).eval(), torch.randn(2, 3, SIDE, SIDE)
    state = {name: torch.randn_like(tensor) / 8 for name, tensor in model.state_dict().items()}
    for names in (RENAMED, {new: old for old, new in RENAMED.items()}):
        other = {}
        for name, tensor in state.items():
            for theirs, ours in names.items():
                name = name.replace(theirs, ours)
            other[name] = tensor
        model.load_state_dict(state)
        expected = model(x)
        fresh = load(folder).eval()
        fresh.load_state_dict(other)
        assert torch.equal(fresh(x), expected)


def test_checkpointing_changes_no_gradient(folder: Path):
    x = torch.randn(2, 3, SIDE, SIDE, dtype=torch.double)
    model = load(folder).double().train()
    gradients = []
    for wanted in (False, True):
        model.grad_checkpoint = wanted
        model.zero_grad()
        model(x).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, rtol=1e-12, atol=1e-12)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0])


def test_checkpointing_recomputes_the_blocks(folder: Path):
    model = load(folder).train()
    calls = []
    model.backbone.encoder.layer[0].norm1.register_forward_hook(lambda *_: calls.append(1))
    for wanted, expected in ((False, 1), (True, 2), (False, 1)):
        model.grad_checkpoint = wanted
        calls.clear()
        model(torch.randn(1, 3, SIDE, SIDE)).sum().backward()
        assert len(calls) == expected


def test_the_image_processor_says_how_images_look(folder: Path):
    revision, side, mean, std = read_preprocessing(str(folder), "")
    assert revision.startswith("sha256:")
    assert (side, mean, std) == (SIDE, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


def test_without_an_image_processor_the_configuration_does(tmp_path: Path):
    folder = save_backbone(tmp_path, processor=False)
    _, side, mean, _ = read_preprocessing(str(folder), "")
    assert (side, mean) == (SIDE, IMAGENET_MEAN)


def test_scratch_is_built_for_its_image_size():
    described = describe_backbone(SCRATCH, "", 48, 0.2)
    model = Dinov2(outputs=3, backbone=described)
    assert model.backbone.embeddings.position_embeddings.shape[1] == (48 // 12) ** 2 + 1
    assert model.backbone.encoder.layer[0].drop_path.drop_prob == 0.2
    with pytest.raises(UsageError, match="--image-size"):
        describe_backbone(SCRATCH, "", 50, 0.2)


def test_another_kind_of_model_is_refused(tmp_path: Path):
    from transformers import ViTConfig, ViTModel

    ViTModel(
        ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                  image_size=8, patch_size=4)
    ).save_pretrained(tmp_path)  # fmt: skip
    with pytest.raises(UsageError, match="not a DINOv2"):
        describe_backbone(str(tmp_path), "", 0, 0.0)


@pytest.mark.parametrize("content", ["", "{", '{"model_type": "dinov2", "hidden_size": "many"}'])
def test_a_damaged_configuration_is_one_line(folder: Path, tmp_path: Path, content: str):
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match="cannot be used") as caught:
        describe_backbone(str(tmp_path), "", 0, 0.0)
    assert "\n" not in str(caught.value)


def test_width_of_the_head_follows_the_pool(folder: Path):
    assert load(folder).head.linear.in_features == 2 * WIDTH
    assert load(folder, "cls").head.linear.in_features == WIDTH


def test_a_backbone_that_lacks_weights_is_refused(folder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if "layer.1." not in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(WeightsError, match=r"lacks .* of its weights"):
        backbone_state(str(tmp_path), "")
